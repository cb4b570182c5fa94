"""The coupling analysis: what is frozen, and why; what is inexact; what a group tells. That removal by it is right: tests/passes/prune."""

from __future__ import annotations

import re

import numpy as np
import onnx_ir
import pytest

from netwright.ir import Program, shapes
from netwright.ir.cost.params import parameter_elements
from netwright.ir.coupling import Group, coupling
from netwright.passes.context import Context
from netwright.passes.prune import Prune

_WEIGHTS: dict[str, tuple[int, ...]] = {
    "w": (5, 6),
    "u": (6, 2),
    "k": (4, 3, 1, 1),
    "v": (2, 4, 1, 1),
    "g": (6,),
    "h": (6,),
    "e": (5, 2),
    "q": (5, 7),
}


def program_of(body: str, *, rest: str = "", domains: str = "") -> Program:
    """A program over `x` [N, 5], an image [N, 3, 6, 6] and numbers, with the weights above."""
    declared = ", ".join(
        f"float[{','.join(map(str, shape))}] {name}" for name, shape in _WEIGHTS.items() if re.search(rf"\b{name}\b", body)
    )
    text = f"""<ir_version: 10, opset_import: ["" : 23{domains}]>
    g (float[N, 5] x, float[N, 3, 6, 6] image, int64[M] numbers, {declared}) => (y) {{
        {body}
    }}
    {rest}"""
    model = onnx_ir.from_onnx_text(text)
    for value in list(model.graph.inputs):
        if value.name in _WEIGHTS:
            model.graph.inputs.remove(value)
            value.const_value = onnx_ir.Tensor(np.ones(_WEIGHTS[value.name], np.float32), name=value.name)
            model.graph.register_initializer(value)
    program = Program(model)
    shapes.infer(program)
    return program


def group(program: Program, name: str = "a") -> Group:
    return coupling(program).group(name)


FROZEN: dict[str, tuple[str, str]] = {
    "an output": ("a = MatMul(x, w)\ny = Relu(a)", "%y is an output of the model"),
    "the largest of units": ("a = MatMul(x, w)\ny = ArgMax<axis=1>(a)", "ArgMax at %y gives the numbers of its units"),
    "the order of units": ("c = Constant<value_ints=[2]>()\na = MatMul(x, w)\nt, y = TopK(a, c)", "TopK at %t depends on places along it"),
    "rows by computed numbers": ("a = MatMul(x, w)\ny = Gather<axis=1>(a, numbers)", "Gather at %y looks rows up by computed numbers"),
    "padding along units": (
        "p = Constant<value_ints=[0, 1, 0, 0]>()\na = MatMul(x, w)\nb = Pad(a, p)\ny = ReduceSum<keepdims=0>(b)",
        "Pad at %b pads it",
    ),
    "neighbouring channels": ("a = Conv(image, k)\nb = LRN<size=3>(a)\ny = Conv(b, v)", "LRN at %b mixes neighbouring channels"),
    "an operator without a rule": ("a = MatMul(x, w)\nb = OneHot(numbers, a, a)\ny = MatMul(a, u)", "OneHot at %b: it deals in places"),
    "places that are computed": (
        "z = Constant<value_ints=[0]>()\no = Constant<value_ints=[1]>()\na = MatMul(x, w)\nb = Slice(a, z, numbers, o)\ny = ReduceSum(b)",
        "Slice at %b cuts it at computed places",
    ),
}


@pytest.mark.parametrize("name", FROZEN)
def test_frozen_with_the_reason(name: str) -> None:
    body, reason = FROZEN[name]
    found = group(program_of(body))
    assert found.frozen == reason
    assert not found.removable.any()


def test_an_unknown_domain_freezes_what_touches_it() -> None:
    found = group(program_of("a = MatMul(x, w)\nb = some.Thing(a)\ny = MatMul(a, u)", domains=', "some" : 1'))
    assert found.frozen in (
        "Thing at %b: no rule is known for it",
        "Thing at %b: the shapes around it are not known",
    )


def test_a_function_is_frozen_until_it_is_inlined() -> None:
    rest = '<domain: "local", opset_import: ["" : 23]>\nTwice (p) => (q) { q = Add(p, p) }'
    found = coupling(program_of("a = MatMul(x, w)\nb = local.Twice(a)\ny = MatMul(b, u)", rest=rest, domains=', "local" : 1'))
    assert {"Twice at %b: a model-local function is looked into only once simplify has inlined it"} == {
        entry.frozen for entry in found.groups if entry.name in ("a", "b")
    }


def test_weights_inside_a_function_are_one_group() -> None:
    rest = (
        '<domain: "local", opset_import: ["" : 23]>\nLayer (p) => (q) '
        "{ w2 = Constant<value = float[2, 3] {1, 2, 3, 4, 5, 6}>()\nq = MatMul(p, w2) }"
    )
    found = group(program_of("a = MatMul(x, e)\ny = local.Layer(a)", rest=rest, domains=', "local" : 1'), "y")
    assert found.frozen == "Layer at %y: a model-local function is looked into only once simplify has inlined it"


WITHOUT_A_RULE: dict[str, tuple[str, set[str]]] = {
    "packed attention": ("y = com.microsoft.Attention<num_heads=2>(x, p, c)", {"p"}),
    "attention with a bias": ("a = MatMul(x, s)\ny = com.microsoft.MultiHeadAttention<num_heads=2>(a, a, a, c, z)", {"z"}),
    "packed bits": ("y = com.microsoft.MatMulNBits<K=6, N=2, block_size=16>(x, i, f)", {"i"}),
    "a product of integers": ("y = MatMulInteger(numbers8, j)", {"j"}),
    "two weights": ("y = some.Thing(x, p, s)", {"p", "s"}),
    "a weight that was turned": ("t = Transpose(s)\ny = some.Thing(x, t)", {"s"}),
}
"""A body whose last node has no rule, and the weights that only it reads."""


@pytest.mark.parametrize("name", WITHOUT_A_RULE)
def test_weights_that_no_rule_reads_are_a_frozen_group(name: str) -> None:
    body, weights = WITHOUT_A_RULE[name]
    rng = np.random.default_rng(0)
    arrays = {
        "p": rng.normal(size=(6, 18)).astype(np.float32),
        "c": rng.normal(size=18).astype(np.float32),
        "s": rng.normal(size=(6, 6)).astype(np.float32),
        "z": rng.normal(size=(1, 3)).astype(np.float32),
        "i": rng.integers(0, 255, (2, 1, 8)).astype(np.uint8),
        "f": rng.normal(size=2).astype(np.float32),
        "j": rng.integers(-9, 9, (6, 2)).astype(np.int8),
    }
    codes = {"float32": "float", "uint8": "uint8", "int8": "int8"}
    used = {name: array for name, array in arrays.items() if re.search(rf"\b{name}\b", body)}
    declared = "".join(f", {codes[array.dtype.name]}[{','.join(map(str, array.shape))}] {name}" for name, array in used.items())
    model = onnx_ir.from_onnx_text(f"""<ir_version: 10, opset_import: ["" : 23, "some" : 1, "com.microsoft" : 1]>
    g (float[N, T, 6] x, int8[N, 6] numbers8{declared}) => (y) {{ {body} }}""")
    for value in list(model.graph.inputs):
        if value.name in used:
            model.graph.inputs.remove(value)
            value.const_value = onnx_ir.Tensor(used[value.name], name=value.name)
            model.graph.register_initializer(value)
    program = Program(model)
    shapes.infer(program)
    found = group(program, "y")
    assert found.frozen.partition(": ")[0].endswith("at %y")
    assert weights <= {entry.weight for entry in found.slices}
    assert not found.removable.any()
    assert found.params.sum() == sum(parameter_elements(program.value(weight)) for weight in weights) > 0
    plan = Prune(ratio=0.5).make_plan(program, Context())
    assert [miss.reason for miss in plan.misses if miss.site == "y"] == [f"left whole: {found.frozen}"]


def test_only_the_part_that_meets_an_input_is_fixed() -> None:
    """[x | b] + a: the what meets x cannot go, what meets b can."""
    found = group(program_of("b = MatMul(x, e)\nc = Concat<axis=1>(x, b)\na = MatMul(x, q)\ns = Add(a, c)\ny = ReduceSum(s)"), "b")
    assert not found.frozen
    assert found.removable.tolist() == [True] * 2 + [False] * 5


INEXACT: dict[str, tuple[str, str]] = {
    "a mean and a variance": (
        "a = MatMul(x, w)\nn = LayerNormalization(a, g, h)\ny = MatMul(n, u)",
        "LayerNormalization at %n takes a mean",
    ),
    "shares": ("a = MatMul(x, w)\ns = Softmax(a)\ny = MatMul(s, u)", "a Softmax shares among its units"),
    "a maximum": ("a = MatMul(x, w)\nm = ReduceMax<keepdims=1>(a, z)\ns = Mul(a, m)\ny = MatMul(s, u)", "ReduceMax at %m takes its max"),
}


@pytest.mark.parametrize("name", INEXACT)
def test_inexact_with_the_reason(name: str) -> None:
    body, reason = INEXACT[name]
    found = group(program_of(body.replace("m = Reduce", "z = Constant<value_ints=[1]>()\nm = Reduce")))
    assert reason in found.inexact
    assert found.removable.all()


def test_what_a_group_tells() -> None:
    found = group(program_of("a = MatMul(x, w)\nn = Mul(a, g)\nb = Add(n, h)\nr = Relu(b)\ny = MatMul(r, u)"))
    told = {(entry.weight, entry.axis): entry.role for entry in found.slices}
    assert told == {("w", 1): "out", ("g", 0): "scale", ("h", 0): "shift", ("u", 0): "in"}
    assert found.params.tolist() == [5 + 1 + 1 + 2] * 6
    assert [entry.weight for entry in found.producing] == ["w", "g", "h"]
    assert [entry.value for entry in found.values] == ["a", "n", "b", "r"]
    assert found.kind == "hidden"


def test_the_site_of_heads_is_that_of_their_channels() -> None:
    """Of two heads of three features: the groups of heads and of features have names of their own, and one site."""
    found = coupling(
        program_of(
            "s = Constant<value_ints=[1, -1, 2, 3]>()\na = MatMul(x, w)\nc = Reshape(a, s)\nt = Transpose<perm=[0, 2, 1, 3]>(c)\n"
            "j = Transpose<perm=[0, 2, 3, 1]>(c)\np = MatMul(t, j)\ny = ReduceSum<keepdims=0>(p)"
        )
    )
    assert {(found.name, found.site) for found in found.groups} == {("a", "a"), ("a:heads", "a")}


def test_a_fourier_transform_is_not_pruned() -> None:
    model = onnx_ir.from_onnx_text("""<ir_version: 10, opset_import: ["" : 20]>
    g (float[N, 1, 400] x, float[66, 1, 64] w, float[2, 66, 1] v) => (float[N, 2, L] y) { a = Conv(x, w) y = Conv(a, v) }""")
    for value in list(model.graph.inputs)[1:]:
        model.graph.inputs.remove(value)
        value.const_value = onnx_ir.Tensor(np.ones(shapes.static_shape(value) or (), np.float32), name=value.name)
        model.graph.register_initializer(value)
    program = Program(model)
    shapes.infer(program)
    assert "looks like a Fourier transform: 66 filters of 64 samples" in group(program).frozen


def test_the_analysis_is_near_linear() -> None:
    """Twice the layers, twice the labels and ties: nothing is propagated."""
    from netwright.ir.coupling.analysis import traced

    def labels(depth: int) -> int:
        body = "c0 = MatMul(x, w)\n" + "\n".join(
            f"t{i} = MatMul(c{i}, u)\nr{i} = Relu(t{i})\nm{i} = MatMul(r{i}, p)\nc{i + 1} = Add(m{i}, c{i})" for i in range(depth)
        )
        text = f"""<ir_version: 10, opset_import: ["" : 20]>
        g (float[N, 5] x, float[5, 6] w, float[6, 2] u, float[2, 6] p) => (float[N, 6] c{depth}) {{ {body} }}"""
        model = onnx_ir.from_onnx_text(text)
        for value in list(model.graph.inputs)[1:]:
            model.graph.inputs.remove(value)
            value.const_value = onnx_ir.Tensor(np.ones(shapes.static_shape(value) or (), np.float32), name=value.name)
            model.graph.register_initializer(value)
        program = Program(model)
        shapes.infer(program)
        return len(traced(program, "inner").walk.units._ties)  # pyright: ignore[reportPrivateUsage] - what is counted

    assert labels(60) - labels(40) == labels(40) - labels(20)
