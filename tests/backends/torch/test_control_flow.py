"""If, Loop and Scan: values as ONNX Runtime gives them, captures, gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import onnx_ir
import pytest
import torch

import netwright as nw
from netwright.backends.onnxruntime.binding import Session
from netwright.backends.onnxruntime.options import SessionOptions
from netwright.backends.torch import lower_to_torch
from tests.backends.torch.programs import from_text
from tests.passes.programs import PROGRAMS

X = np.array([[0.5, -1.5, 2.0], [1.0, 0.25, -0.75]], np.float32)


def same_as_runtime(text: str, feeds: Mapping[str, np.ndarray], opset: int = 21) -> torch.fx.GraphModule:
    """The module, whose outputs are those of ONNX Runtime."""
    program = from_text(text, opset)
    session = Session(onnx_ir.serde.serialize_model(program.model).SerializeToString(), SessionOptions(threads=1))
    expected = list(session.run(dict(feeds)).values())
    module = lower_to_torch(program)
    found = module(*(torch.from_numpy(feeds[value.name or ""]) for value in program.inputs))
    parts = tensors_of(found)
    assert len(parts) == len(expected)
    for part, array in zip(parts, expected, strict=True):
        assert part.shape == array.shape
        np.testing.assert_allclose(part.detach().numpy(), array, rtol=1e-5, atol=1e-6)
    return module


def tensors_of(found: object) -> tuple[torch.Tensor, ...]:
    return cast("tuple[torch.Tensor, ...]", found if isinstance(found, tuple) else (found,))


def gradients_flow(module: torch.fx.GraphModule, *given: object) -> None:
    """Gradients are those of difference quotients, of float inputs and of parameters."""
    module.double()
    inputs = [torch.as_tensor(one) for one in given]
    leaves = [one.double().requires_grad_() if one.is_floating_point() else one for one in inputs]

    def run(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(part for part in tensors_of(module(*tensors)) if part.requires_grad)

    assert run(*leaves), "no output has a gradient"
    assert torch.autograd.gradcheck(run, leaves)


# ---- If ----------------------------------------------------------------------------------------------------------

BRANCHES = """<float[3] w = {2, 3, 4}> {
    h = Exp (x)
    y = If (c) <
        then_branch = yes () => (float[N, 3] u) { u = Mul (h, w) },
        else_branch = no () => (float[N, 3] v) { n = Neg (x)  v = Add (n, h) }>
}"""


@pytest.mark.parametrize("condition", [True, False])
def test_data_choose_a_branch_which_captures_values_and_weights(condition: bool) -> None:
    module = same_as_runtime(f"g (bool c, float[N, 3] x) => (float[N, 3] y) {BRANCHES}", {"c": np.array(condition), "x": X})
    assert list(dict(module.named_parameters())) == ["w"]
    gradients_flow(module, np.array(condition), X)
    module.get_parameter("w").grad = None
    module(torch.tensor(condition), torch.from_numpy(X).double().requires_grad_()).sum().backward()
    assert (module.get_parameter("w").grad is not None) == condition


def test_a_constant_condition_leaves_one_branch() -> None:
    text = "g (float[N, 3] x) => (float[N, 3] y) <bool c = {0}, float[3] w = {2, 3, 4}> " + BRANCHES.partition(">")[2]
    module = same_as_runtime(text, {"x": X})
    assert not [node for node in module.graph.nodes if "branch" in str(node.target)]
    gradients_flow(module, X)


def test_a_condition_on_sizes_is_decided_in_python() -> None:
    text = """g (float[N, 3] x) => (float[N, 3] y) <int64 zero = {0}, int64 four = {4}> {
        s = Shape (x)  n = Gather (s, zero)  c = Less (n, four)
        y = If (c) < then_branch = yes () => (float[N, 3] u) { u = Exp (x) }, else_branch = no () => (float[N, 3] v) { v = Neg (x) }> }"""
    module = same_as_runtime(text, {"x": X})
    torch.testing.assert_close(module(torch.ones(5, 3)), -torch.ones(5, 3))


def test_branches_may_have_weights_of_their_own_and_several_outputs() -> None:
    text = """g (bool c, float[N, 3] x) => (float[N, 3] y, float[N] z) {
        y, z = If (c) <
            then_branch = yes () => (float[N, 3] u, float[N] r) <float[3, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}>
                { u = MatMul (x, w)  r = ReduceSum <keepdims = 0> (u, axes)  axes = Constant <value_ints = [1]> () },
            else_branch = no () => (float[N, 3] v, float[N] q)
                { v = Identity (x)  q = ReduceMax <keepdims = 0> (v, ones)  ones = Constant <value_ints = [1]> () }> }"""
    for condition in (True, False):
        module = same_as_runtime(text, {"c": np.array(condition), "x": X})
        gradients_flow(module, np.array(condition), X)
    assert [tuple(parameter.shape) for parameter in module.parameters()] == [(3, 3)]


def test_branches_within_branches_capture_from_all_around() -> None:
    inner = (
        """If (d) < then_branch = a () => (float[N, 3] p) { p = Mul (x, w) }, else_branch = b () => (float[N, 3] q) { q = Sub (h, x) }>"""
    )
    text = f"""g (bool c, bool d, float[N, 3] x) => (float[N, 3] y) <float[3] w = {{2, 3, 4}}> {{
        h = Exp (x)
        y = If (c) < then_branch = yes () => (float[N, 3] u) {{ t = {inner}  u = Add (t, h) }},
                     else_branch = no () => (float[N, 3] v) {{ v = Identity (w2)  w2 = Mul (h, w) }}> }}"""
    for outer in (True, False):
        for choice in (True, False):
            gradients_flow(
                same_as_runtime(text, {"c": np.array(outer), "d": np.array(choice), "x": X}), np.array(outer), np.array(choice), X
            )


# ---- Loop --------------------------------------------------------------------------------------------------------

BODY = """body = step (int64 i, bool go, float[3] state) => (bool more, float[3] next, float[3] row)
    { f = CastLike (i, w)  a = Mul (state, w)  next = Add (a, f)  row = Exp (a)
      size = ReduceSum <keepdims = 0> (a)  more = Less (size, limit) }"""


def looped(trips: str, condition: str, limit: float = 1e9) -> str:
    return f"""g (int64 m, bool c, float[3] x) => (float[3] y, float[T, 3] rows) <float[3] w = {{0.5, 1.1, 0.9}}, float limit = {{{limit}}}>
    {{ y, rows = Loop ({trips}, {condition}, x) < {BODY} > }}"""


@pytest.mark.parametrize(
    ("text", "trips", "condition", "rows"),
    [
        (looped("m", "c"), 4, True, 4),
        (looped("m", "c"), 0, True, 0),
        (looped("m", "c"), 4, False, 0),
        (looped("m", ""), 3, False, 3),
        (looped("", "c", limit=6.0), 0, True, None),
        (looped("m", "c", limit=4.0), 100, True, None),
    ],
    ids=["counted", "no trips", "condition false at the start", "without condition", "without count", "ended by its condition"],
)
def test_loops_run_as_often_as_they_say(text: str, trips: int, condition: bool, rows: int | None) -> None:
    feeds = {"m": np.array(trips), "c": np.array(condition), "x": np.array([0.5, 1.0, -0.5], np.float32)}
    module = same_as_runtime(text, feeds)
    found = module(*(torch.from_numpy(array) for array in feeds.values()))[1].shape[0]
    assert found == rows if rows is not None else 0 < found < 100
    if found:
        gradients_flow(module, *feeds.values())
        assert module.get_parameter("w").grad is None
        module(torch.tensor(trips), torch.tensor(condition), torch.ones(3).double())[0].sum().backward()
        assert module.get_parameter("w").grad is not None


def test_a_loop_over_a_size_needs_no_tensor_of_it() -> None:
    text = """g (float[N, 3] x) => (float[3] y) <int64 zero = {0}, bool go = {1}, float[3] start = {0, 0, 0}> {
        s = Shape (x)  n = Gather (s, zero)
        y = Loop (n, go, start) < body = step (int64 i, bool c, float[3] a) => (bool d, float[3] b)
            { d = Identity (c)  r = Gather (x, i)  b = Add (a, r) }> }"""
    module = same_as_runtime(text, {"x": X})
    assert "from_host" not in module.code
    torch.testing.assert_close(module(torch.ones(7, 3)), torch.full((3,), 7.0))


def test_loops_within_loops() -> None:
    text = """g (float[3] x) => (float[3] y) <int64 two = {2}, int64 three = {3}, bool go = {1}, float[3] w = {1.1, 0.9, 0.7}> {
        y = Loop (two, go, x) < body = outer (int64 i, bool c, float[3] a) => (bool d, float[3] b)
            { d = Identity (c)
              t = Loop (three, c, a) < body = inner (int64 j, bool e, float[3] p) => (bool f, float[3] q)
                { f = Identity (e)  k = Add (i, j)  l = CastLike (k, x)  m = Mul (p, w)  q = Add (m, l) }>
              b = Mul (t, x) }> }"""
    gradients_flow(same_as_runtime(text, {"x": X[0]}), X[0])


# ---- Scan --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [
    "",
    "scan_input_directions = [1], scan_output_directions = [1]",
    "scan_input_axes = [1], scan_output_axes = [1]",
    "scan_input_axes = [-1], scan_output_axes = [-1], scan_output_directions = [1]",
])  # fmt: skip
def test_scans_go_along_any_axis_both_ways(options: str) -> None:
    square = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    text = f"""g (float[3] start, float[3, 3] x) => (float[3] y, float[A, B] rows) <float[3] w = {{2, 0.5, -1}}> {{
        y, rows = Scan <num_scan_inputs = 1, {options or "scan_input_directions = [0]"},
            body = step (float[3] s, float[3] r) => (float[3] t, float[3] o)
                {{ a = Mul (s, w)  t = Add (a, r)  o = Tanh (t) }}> (start, x) }}"""
    gradients_flow(same_as_runtime(text, {"start": X[0], "x": square}), X[0], square)


def test_scans_of_several_inputs_without_state() -> None:
    text = """g (float[N, 3] x, float[N, 3] z) => (float[N, 3] y) {
        y = Scan <num_scan_inputs = 2, body = step (float[3] a, float[3] b) => (float[3] c) { c = Mul (a, b) }> (x, z) }"""
    gradients_flow(same_as_runtime(text, {"x": X, "z": X + 1}), X, X + 1)


def test_the_programs_of_the_pass_tests_with_branches_run() -> None:
    module = nw.to_torch(PROGRAMS["branches"]())
    x = torch.randn(3, 64)
    torch.testing.assert_close(module(torch.tensor(True), x), -x @ module.get_parameter("w"))
    torch.testing.assert_close(module(torch.tensor(False), x), torch.relu(-x))
