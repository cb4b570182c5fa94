"""Symbolic shapes, on graphs small enough to see through."""

from __future__ import annotations

import numpy as np
import onnx_ir
import pytest
from onnx_ir import SymbolicDim

from netwright.ir.dims import UNKNOWN, Dim, dims_equal, divide_exactly, evaluate, product, proven_unequal
from netwright.ir.dump import type_of
from netwright.ir.program import Program
from netwright.ir.shape_rules import slice_length
from netwright.ir.shapes import infer, infer_nodes, rank, same_shape, shape_of, specialised, static_shape, symbolic_data


def program(body: str, *, opset: int = 20, functions: str = "", domains: str = "") -> Program:
    return Program(onnx_ir.from_onnx_text(f'<ir_version: 10, opset_import: ["" : {opset}{domains}]>\n{body}\n{functions}'))


def types(found: Program, *names: str) -> list[str]:
    return [type_of(found.value(name)) for name in names]


def test_shape_arithmetic_is_followed_to_the_reshape() -> None:
    found = program("""g (float[batch, seq, 12] x) => (float[a, b, 3, 4] y) {
        shape = Shape(x)
        two = Constant<value_ints=[0, 1]>()
        leading = Gather(shape, two)
        heads = Constant<value_ints=[3, -1]>()
        target = Concat<axis=0>(leading, heads)
        r = Reshape(x, target)
        y = Identity(r)
    }""")
    assert infer(found) == []
    assert symbolic_data(found.value("target")) == [SymbolicDim("batch"), SymbolicDim("seq"), 3, -1]
    assert types(found, "r") == ["f32[batch, seq, 3, 4]"]
    assert types(found, "y") == ["f32[a, b, 3, 4]"], "the signature keeps the names that the file gives it"


def test_differing_names_are_not_taken_to_be_equal_when_they_broadcast() -> None:
    found = program("""g (float[a, 4] x, float[b, 4] z, float[a, 4] w) => (y, q, same) {
        y = Add(x, z)
        q = Mul(z, x)
        same = Add(x, w)
    }""")
    infer(found)
    assert types(found, "same") == ["f32[a, 4]"]
    assert types(found, "y")[0] not in ("f32[a, 4]", "f32[b, 4]"), "a or b may be 1 when the program runs"
    assert same_shape(found.value("y"), found.value("q")), "the same pair gives the same dimension"


def test_the_where_equal_idiom_of_expand_resolves() -> None:
    found = program("""g (float[1, n] x, float[m, k] z) => (y) {
        shape = Shape(z)
        minus = Constant<value_ints=[-1, -1]>()
        ones = Constant<value_ints=[1, 1]>()
        asked = Equal(shape, minus)
        target = Where(asked, ones, shape)
        y = Expand(x, target)
    }""")
    infer(found)
    assert symbolic_data(found.value("asked")) == [0, 0]
    assert symbolic_data(found.value("target")) == [SymbolicDim("m"), SymbolicDim("k")]


def test_an_unknown_content_is_not_a_dimension() -> None:
    found = program("""g (float[n, 4] x, int64[1] size) => (y, s) {
        four = Constant<value_ints=[4]>()
        target = Concat<axis=0>(size, four)
        y = Reshape(x, target)
        s = Shape(y)
    }""")
    infer(found)
    assert symbolic_data(found.value("target")) == [UNKNOWN, 4]
    (first, second) = symbolic_data(found.value("s")) or []
    assert second == 4
    assert isinstance(first, SymbolicDim)
    assert first.value is not None, "the dimension has a name, the content (which may be -1) has not"


def test_an_operator_without_rule_is_a_miss_and_drops_the_stale_shape() -> None:
    found = program("g (float[n] x) => (y) { c = my.domain.Thing(x)\n d = Relu(c)\n y = Relu(x) }", domains=', "my.domain" : 1')
    thing = found.value("c")
    thing.type, thing.shape = onnx_ir.TensorType(onnx_ir.DataType.FLOAT), onnx_ir.Shape([3])
    found.value("d").shape = onnx_ir.Shape([3])
    (miss,) = infer(found)
    assert miss.site == "c"
    assert "no shape rule for my.domain::Thing" in miss.reason
    assert types(found, "c", "d", "y") == ["f32", "f32", "f32[n]"]


def test_on_load_declared_shapes_fill_the_gaps() -> None:
    found = program("g (float[n] x) => (y) { c = my.domain.Thing(x)\n y = Relu(c) }", domains=', "my.domain" : 1')
    thing = found.value("c")
    thing.type, thing.shape = onnx_ir.TensorType(onnx_ir.DataType.FLOAT), onnx_ir.Shape(["m", 3])
    infer(found, keep_declared=True)
    assert types(found, "c", "y") == ["f32[m, 3]", "f32[m, 3]"]


def test_a_rule_that_fails_is_a_miss_and_the_rest_is_inferred() -> None:
    found = program("g (float[2, 3] x, float[4, 5] w) => (y, z) { y = MatMul(x, w)\n z = Relu(x) }")
    (miss,) = infer(found)
    assert miss.site == "y"
    assert "3 columns do not meet 4 rows" in miss.reason
    assert types(found, "z") == ["f32[2, 3]"]


def test_outputs_that_contradict_their_declaration_are_misses() -> None:
    found = program("g (float[2, 3] x) => (float[2, 4] y, double[2, 3] z) { y = Relu(x)\n z = Neg(x) }")
    assert sorted(miss.site for miss in infer(found)) == ["y", "z"]
    assert types(found, "y") == ["f32[2, 3]"]


def test_a_growing_loop_state_has_no_fixed_length() -> None:
    found = program("""g (float[2] x, int64 n, float[1] z) => (y, stays, seen) {
        yes = Constant<value=bool {1}>()
        y, stays, seen = Loop(n, yes, x, x) <body = body (int64 i, bool c, float[k] grow, float[j] keep) => (bool c2, g2, k2, item) {
            c2 = Identity(c)
            g2 = Concat<axis=0>(grow, z)
            k2 = Relu(keep)
            item = Neg(keep)
        }>
    }""")
    assert infer(found) == []
    assert static_shape(found.value("y")) is None
    assert rank(found.value("y")) == 1
    assert types(found, "stays") == ["f32[2]"]
    assert rank(found.value("seen")) == 2


def test_a_loop_that_cannot_stop_early_scans_as_often_as_it_is_told() -> None:
    found = program("""g (float[2] x) => (seen) {
        n = Constant<value_int=5>()
        yes = Constant<value=bool {1}>()
        last, seen = Loop(n, yes, x) <body = body (int64 i, bool c, float[2] s) => (bool c2, s2, item) {
            c2 = Identity(c)
            s2 = Relu(s)
            item = Neg(s)
        }>
    }""")
    infer(found)
    assert types(found, "last", "seen") == ["f32[2]", "f32[5, 2]"]


def test_scan_and_if_join_their_graphs() -> None:
    found = program("""g (float[4] state, float[t, 4] xs, bool c) => (final, ys, either) {
        final, ys = Scan<num_scan_inputs=1, body = step (float[4] s, float[4] x) => (s2, y) {
            s2 = Add(s, x)
            y = Neg(s2)
        }>(state, xs)
        either = If(c) <then_branch = a () => (p) { p = Relu(ys) }, else_branch = b () => (q) { q = Concat<axis=0>(ys, ys) }>
    }""")
    assert infer(found) == []
    assert types(found, "final", "ys") == ["f32[4]", "f32[t, 4]"]
    dim, four = shape_of(found.value("either")) or (UNKNOWN, UNKNOWN)
    assert four == 4
    assert not isinstance(dim, int)
    assert dim.value not in ("t", None)


FUNCTION = """<domain: "f", opset_import: ["" : 20]>
twice <axis> (a) => (b) { b = Concat<axis: int = @axis>(a, a) }"""


def test_each_call_of_a_function_has_its_own_shapes() -> None:
    found = program(
        "g (float[n, 4] x) => (y, z) { y = f.twice<axis=0>(x)\n z = f.twice<axis=1>(x) }", functions=FUNCTION, domains=', "f" : 1'
    )
    assert infer(found) == []
    assert types(found, "y", "z") == ["f32[2*n, 4]", "f32[n, 8]"]
    body = specialised(found, next(found.nodes("twice")))
    assert body is not None
    assert type_of(body.outputs[0]) == "f32[2*n, 4]"
    assert found.value("b").shape is None, "the function itself has no shapes"


@pytest.mark.parametrize("name", ["?", "-1", ""])
def test_names_that_are_none_get_one_of_their_own_each(name: str) -> None:
    found = program("g (float[a, b] x) => (y) { y = Flatten<axis=0>(x) }")
    found.value("x").shape = onnx_ir.Shape([SymbolicDim(name or None), SymbolicDim(name or None)])
    assert infer(found) == []
    first, second = shape_of(found.value("x")) or (UNKNOWN, UNKNOWN)
    assert not dims_equal(first, second)


def test_new_nodes_are_inferred_in_place() -> None:
    found = program("g (float[n, 4] x) => (y) { y = Relu(x) }")
    infer(found)
    weight = onnx_ir.Value(name="w", const_value=onnx_ir.tensor(np.zeros((4, 7), np.float32)))
    product_ = onnx_ir.node("MatMul", [found.value("x"), weight])
    gelu = onnx_ir.node("Gelu", [product_.outputs[0]])
    assert infer_nodes(found, [product_, gelu]) == []
    assert type_of(gelu.outputs[0]) == "f32[n, 7]"
    shared = found.value("y").type
    assert gelu.outputs[0].type is not shared


def test_contents_stay_out_of_the_file() -> None:
    found = program("g (float[2, n] x) => (s) { s = Shape(x)\n t = Cast<to=6>(s) }")
    infer(found)
    assert symbolic_data(found.value("t")) == [2, SymbolicDim("n")]
    assert found.value("t").const_value is None
    assert not found.value("t").metadata_props
    assert symbolic_data(found.clone().value("t")) == [2, SymbolicDim("n")]


@pytest.mark.parametrize(
    "op", ["DynamicQuantizeMatMul", "MatMulIntegerToFloat", "GatherBlockQuantized", "DynamicQuantizeLSTM", "MatMulNBits", "QGemm"]
)
def test_fused_operators_of_the_runtime_have_shapes(op: str) -> None:
    calls = {
        "DynamicQuantizeMatMul": ("float[b, s, 8] x, int8[8, 16] w, float[16] k", "(x, w, k)", "f32[b, s, 16]"),
        "MatMulIntegerToFloat": ("uint8[b, 8] x, int8[8, 16] w, float k, float j", "(x, w, k, j)", "f32[b, 16]"),
        "GatherBlockQuantized": ("uint8[100, 32] w, int64[b, s] i, float[100, 2] k", "<block_size=32>(w, i, k)", "f32[b, s, 64]"),
        "DynamicQuantizeLSTM": (
            "float[t, b, 8] x, int8[2, 8, 64] w, int8[2, 16, 64] r, float[2] k, int8[2] z, float[2] k2, int8[2] z2",
            '<direction="bidirectional", hidden_size=16>(x, w, r, , , , , , k, z, k2, z2)',
            "f32[t, 2, b, 16]",
        ),
        "QGemm": (
            "uint8[b, 8] x, float k, uint8 z, int8[16, 8] w, float j, int8 v, int32[16] c, float s, uint8 u",
            "<transB=1>(x, k, z, w, j, v, c, s, u)",
            "u8[b, 16]",
        ),
        "MatMulNBits": ("float[b, 64] x, uint8[10, 2, 16] w, float[20] k", "<K=64, N=10, block_size=32>(x, w, k)", "f32[b, 10]"),
    }
    inputs, call, expected = calls[op]
    found = program(f"g ({inputs}) => (y) {{ y = com.microsoft.{op}{call} }}", domains=', "com.microsoft" : 1')
    assert infer(found) == []
    assert types(found, "y") == [expected]


def test_opset_23_and_24_operators_have_shapes() -> None:
    found = program(
        """g (float[b, s, 64] q, float[b, s, 32] k, float[64] w) => (y, n, r) {
            y = Attention<q_num_heads=8, kv_num_heads=4>(q, k, k)
            n = RMSNormalization(q, w)
            r = Swish(q)
        }""",
        opset=24,
    )
    assert infer(found) == []
    assert types(found, "y", "n", "r") == ["f32[b, s, 64]"] * 3


DIMS = {"n": SymbolicDim("n"), "m": SymbolicDim("m")}


def test_dimensions_are_equal_only_where_proven() -> None:
    n, m = DIMS["n"], DIMS["m"]
    assert dims_equal(n + 2 + m, m + n + 2)
    assert dims_equal(n * 2, n + n)
    assert not dims_equal(n, m)
    assert not dims_equal(UNKNOWN, UNKNOWN)
    assert not dims_equal(n, 4)


def test_dimensions_multiply_and_divide() -> None:
    n, m = DIMS["n"], DIMS["m"]
    assert product([2, 3]) == 6
    assert product([]) == 1
    assert product([UNKNOWN, 0]) == 0
    assert dims_equal(product([n, 2, m]), m * n * 2)
    assert dims_equal(divide_exactly(product([n, 12, m]), product([4, n])), m * 3)
    assert divide_exactly(n, 2) == UNKNOWN
    assert evaluate(product([n, 3]), {"n": 5}) == 15
    assert evaluate(n, {"m": 1}) is None


def test_a_size_never_is_minus_one_but_a_difference_may_be() -> None:
    n = DIMS["n"]
    assert proven_unequal(n * 2 + 1, -1)
    assert not proven_unequal(n - 1, -1)
    assert not proven_unequal(n, 3)


@pytest.mark.parametrize(
    ("start", "end", "step"), [(0, 999, 1), (2, -1, 1), (-3, 2**63 - 1, 1), (1, 6, 2), (-1, -(2**63) + 1, -1), (5, 2, 1)]
)
def test_slices_of_named_sizes_are_clamped_like_python_s(start: int, end: int, step: int) -> None:
    length: Dim = slice_length(SymbolicDim("n"), start, end, step)
    for size in range(1, 12):
        expected = len(range(size)[slice(start, None if end < -(2**62) else end, step)])
        assert evaluate(length, {"n": size}) == expected
        assert slice_length(size, start, end, step) == expected
