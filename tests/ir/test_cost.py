"""The cost analysis, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import onnx_ir
import pytest

from netwright.ir.cost import Cost, Quantity, cost, default_bindings
from netwright.ir.cost.analysis import sizes
from netwright.ir.origin import MODULE
from netwright.ir.program import Program
from netwright.ir.shapes import infer

Weights = dict[str, tuple[str, tuple[int, ...]]]


def program(body: str, *, opset: int = 20, rest: str = "", domains: str = "", weights: Weights | None = None) -> Program:
    """A program from text, with weights of the given types and shapes put in for inputs of those names."""
    model = onnx_ir.from_onnx_text(f'<ir_version: 10, opset_import: ["" : {opset}{domains}]>\n{body}\n{rest}')
    for value in list(model.graph.inputs):
        if weights and value.name in weights:
            dtype, shape = weights[value.name]
            model.graph.inputs.remove(value)
            value.const_value = onnx_ir.tensor(np.ones(shape, onnx_ir.DataType[dtype].numpy()), name=value.name)
            model.graph.register_initializer(value)
    found = Program(model)
    infer(found)
    return found


ROWS: dict[str, tuple[str, Weights, str, int, int]] = {
    "MatMul": ("float[b, s, 8] x, float w", {"w": ("FLOAT", (8, 16))}, "MatMul(x, w)", 2 * 5 * 8 * 16, 128),
    "Gemm": (
        "float[b, 8] x, float w, float c",
        {"w": ("FLOAT", (16, 8)), "c": ("FLOAT", (16,))},
        "Gemm<transB=1>(x, w, c)",
        2 * 8 * 16,
        144,
    ),
    "Conv": ("float[b, 4, 6, 6] x, float w", {"w": ("FLOAT", (8, 2, 3, 3))}, "Conv<group=2>(x, w)", 2 * 8 * 16 * 2 * 9, 144),
    "ConvTranspose": ("float[b, 4, 6] x, float w", {"w": ("FLOAT", (4, 8, 3))}, "ConvTranspose(x, w)", 2 * 4 * 6 * 8 * 3, 96),
    "LSTM": (
        "float[s, b, 8] x, float w, float r",
        {"w": ("FLOAT", (1, 64, 8)), "r": ("FLOAT", (1, 64, 16))},
        "LSTM<hidden_size=16>(x, w, r)",
        5 * 2 * (64 * 8 + 64 * 16),
        64 * 24,
    ),
    "Einsum": ("float[b, s, 8] x, float w", {"w": ("FLOAT", (8, 3))}, 'Einsum<equation="...i,ij->...j">(x, w)', 2 * 5 * 8 * 3, 24),
    "MatMulInteger": ("uint8[b, 8] x, int8 w", {"w": ("INT8", (8, 16))}, "MatMulInteger(x, w)", 2 * 8 * 16, 128),
    "MatMulNBits": (
        "float[b, 64] x, uint8 w, float k",
        {"w": ("UINT8", (10, 2, 16)), "k": ("FLOAT", (20,))},
        "com.microsoft.MatMulNBits<K=64, N=10, block_size=32>(x, w, k)",
        2 * 64 * 10,
        640,
    ),
    "QLinearConv": (
        "uint8[b, 4, 6, 6] x, float k, uint8 z, int8 w, float kw, int8 zw, int32 bias",
        {
            "k": ("FLOAT", ()),
            "z": ("UINT8", ()),
            "w": ("INT8", (8, 4, 3, 3)),
            "kw": ("FLOAT", (8,)),
            "zw": ("INT8", (8,)),
            "bias": ("INT32", (8,)),
        },
        "QLinearConv(x, k, z, w, kw, zw, k, z, bias)",
        2 * 8 * 16 * 36,
        288 + 8,
    ),
    "DynamicQuantizeLSTM": (
        "float[s, b, 8] x, int8 w, int8 r, float k, int8 z",
        {"w": ("INT8", (1, 8, 64)), "r": ("INT8", (1, 16, 64)), "k": ("FLOAT", (1,)), "z": ("INT8", (1,))},
        "com.microsoft.DynamicQuantizeLSTM<hidden_size=16>(x, w, r, , , , , , k, z, k, z)",
        5 * 2 * 64 * 24,
        64 * 24,
    ),
}


@pytest.mark.parametrize("op", ROWS)
def test_macs_and_parameters_of_operators(op: str) -> None:
    inputs, weights, call, macs, params = ROWS[op]
    found = cost(program(f"g ({inputs}) => (y) {{ y = {call} }}", domains=', "com.microsoft" : 1', weights=weights))
    assert found.macs.evaluate({"b": 2, "s": 5}) == macs
    assert found.params == params


def test_attention_counts_scores_and_sums() -> None:
    found = cost(
        program("g (float[b, s, 64] q, float[b, t, 32] k) => (y) { y = Attention<q_num_heads=8, kv_num_heads=4>(q, k, k) }", opset=23)
    )
    assert found.macs.evaluate({"b": 2, "s": 3, "t": 7}) == 2 * (2 * 8 * 3 * 7 * 8)


def test_costs_are_symbolic_and_bytes_are_read_and_written() -> None:
    found = cost(program("g (float[batch, 8] x, float w) => (z) { y = MatMul(x, w)\n z = Relu(y) }", weights={"w": ("FLOAT", (8, 4))}))
    assert str(found.macs) == "32 · batch"
    assert found.macs.evaluate({}) is None
    totals = found.totals({"batch": 10})
    assert (totals.macs, totals.bytes_read, totals.bytes_written) == (320, 4 * (80 + 32 + 40), 4 * (40 + 40))


def test_shapes_and_axes_and_scalars_are_not_parameters_but_constants_in_branches_are() -> None:
    found = cost(
        program("""g (float[n, 4] x, bool c) => (y) {
        target = Constant<value_ints=[-1, 2]>()
        half = Constant<value_float=0.5>()
        a = Mul(x, half)
        r = Reshape(a, target)
        y = If(c) <then_branch = t () => (p) { w = Constant<value = float[2] {1, 2}>()
            p = Mul(r, w) }, else_branch = e () => (q) { q = Neg(r) }>
    }""")
    )
    assert found.params == 2


def test_a_scale_that_meets_a_dynamically_quantized_product_is_no_parameter() -> None:
    found = program(
        """g (float[n, 8] x, int8 w, float k) => (y) {
            q, scale, zero = DynamicQuantizeLinear(x)
            i = MatMulInteger(q, w, zero)
            f = Cast<to=1>(i)
            both = Mul(scale, k)
            y = Mul(f, both)
        }""",
        weights={"w": ("INT8", (8, 4)), "k": ("FLOAT", (4,))},
    )
    assert cost(found).params == 32


def test_tied_weights_count_once() -> None:
    found = cost(program("g (float[n, 8] x, float w) => (y) { a = MatMul(x, w)\n y = MatMul(a, w) }", weights={"w": ("FLOAT", (8, 8))}))
    assert found.params == 64
    assert [node.params for node in found.nodes] == [64, 0]


def test_loops_multiply_and_the_dearer_branch_counts() -> None:
    found = cost(
        program(
            """g (float[2, 8] x, float w, float[t, 2, 8] xs, bool c) => (y, z, e) {
            n = Constant<value_int=5>()
            yes = Constant<value = bool {1}>()
            y = Loop(n, yes, x) <body = body (int64 i, bool k, float[2, 8] s) => (bool k2, s2) { k2 = Identity(k)
                s2 = MatMul(s, w) }>
            z, zs = Scan<num_scan_inputs=1, body = step (float[2, 8] s, float[2, 8] v) => (s3, o) { m = Add(s, v)
                s3 = MatMul(m, w)
                o = Neg(m) }>(x, xs)
            e = If(c) <then_branch = a () => (p) { p = Relu(x) }, else_branch = b () => (q) { q = MatMul(x, w) }>
        }""",
            weights={"w": ("FLOAT", (8, 8))},
        )
    )
    once = 2 * 8 * 8
    assert found.macs.evaluate({"t": 7}) == once * (5 + 7 + 1)
    assert found.params == 64
    assert found.notes == ()


def test_a_function_s_body_counts_for_each_call() -> None:
    body = "g (float[n, 8] x, float w, float v) => (y) { a = f.Dense(x, w)\n y = f.Dense(a, v) }"
    dense = '<domain: "f", opset_import: ["" : 20]> Dense (a, b) => (c) { m = MatMul(a, b)\n c = Relu(m) }'
    found = cost(program(body, rest=dense, domains=', "f" : 1', weights={"w": ("FLOAT", (8, 16)), "v": ("FLOAT", (16, 4))}))
    assert found.macs.evaluate({"n": 3}) == 3 * (8 * 16 + 16 * 4)
    assert found.params == 128 + 64
    assert [node.site for node in found.nodes if node.op == "MatMul"] == ["a/m", "y/m"]


def two_layers() -> Cost:
    found = program(
        "g (float[n, 8] x, float w, float v) => (y) { a = MatMul(x, w)\n r = Relu(a)\n y = MatMul(r, v) }",
        weights={"w": ("FLOAT", (8, 16)), "v": ("FLOAT", (16, 4))},
    )
    for node, module in zip(found.graph, ("first", "first", "second"), strict=True):
        node.metadata_props[MODULE] = module
    return cost(found)


def test_rows_by_layer_operator_and_module_add_up() -> None:
    found = two_layers()
    total = found.totals({"n": 2})
    for rows in (found.by_layer({"n": 2}), found.by_op({"n": 2}), found.by_module({"n": 2})):
        assert sum(row.params for row in rows) == total.params
        assert sum(row.macs or 0 for row in rows) == total.macs
        assert sum(row.nodes for row in rows) == 3
    assert [row.name for row in found.by_layer({"n": 2})] == ["a", "(other)", "y"]
    assert [(row.name, row.macs) for row in found.by_module({"n": 2})] == [("first", 256), ("second", 128)]
    assert found.by_op({"n": 2})[0].to_dict()["name"] == "MatMul"


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ("int64[batch, seq] ids, int64[batch, seq] mask", {"batch": 1, "seq": 128}),
        ("float[s0, 3, s1, s2] image", {"s0": 1, "s1": 224, "s2": 224}),
        ("float[a, t] wave", {"a": 1, "t": 16000}),
        ("float[a, t, 80] frames, float[t] weight", {"a": 1, "t": 128}),
        ("float[4, 4] x", {}),
    ],
)
def test_named_dimensions_get_sensible_sizes(inputs: str, expected: dict[str, int]) -> None:
    first = inputs.split("]")[1].split(",")[0].strip()
    assert default_bindings(program(f"g ({inputs}) => (y) {{ y = Neg({first}) }}")) == expected


def test_a_broadcast_dimension_is_guessed_as_the_larger_of_its_parts() -> None:
    found = program(
        "g (float[a, 4] x, float[b, 4] z, float w) => (y) { s = Add(x, z)\n y = MatMul(s, w) }", weights={"w": ("FLOAT", (4, 4))}
    )
    assert cost(found).totals({"a": 3, "b": 5}).macs == 5 * 16


def test_a_name_that_only_an_output_declares_counts_what_was_inferred_there() -> None:
    """As exporters name the axes of outputs: `Gemm86_dim_0` for the batch."""
    found = program(
        "g (float[batch, t, 8] x, float w, float v) => (float[Gemm86_dim_0, Gemm86_dim_1] y) "
        "{ s = Constant<value_ints=[-1, 8]>()\n r = Reshape(x, s)\n a = MatMul(r, w)\n b = Relu(a)\n y = Gemm(b, v) }",
        weights={"w": ("FLOAT", (8, 16)), "v": ("FLOAT", (16, 4))},
    )
    assert default_bindings(found) == {"batch": 1, "t": 128}
    assert cost(found).totals(default_bindings(found)).macs == 128 * (8 * 16 + 16 * 4)
    assert cost(found).totals({"batch": 2, "t": 3}).macs == 6 * (8 * 16 + 16 * 4)
    assert cost(found.clone()).totals({"batch": 2, "t": 3}).macs == 6 * (8 * 16 + 16 * 4)
    assert cost(found).totals({"batch": 2, "t": 3, "Gemm86_dim_0": 5}).macs == 6 * 8 * 16 + 5 * 16 * 4


def test_names_of_outputs_that_stand_for_one_another_end_somewhere() -> None:
    found = program("g (float[n, 8] x) => (float[A, 8] a, float[B, 8] b, float[A, 8] c) { a = Neg(x)\n b = Neg(a)\n c = Neg(b) }")
    assert default_bindings(found) == {"n": 1}
    assert cost(found).totals({"n": 3}).bytes_written == 3 * 3 * 8 * 4


def test_a_name_of_an_output_of_which_nothing_is_inferred_has_the_usual_size() -> None:
    found = program("g (float[batch] x) => (int64[1, found_places] y) { y = NonZero(x) }")
    assert default_bindings(found) == {"batch": 1, "found_places": 128}


def test_a_dimension_whose_name_is_no_expression_counts_what_it_is_bound_to() -> None:
    odd = onnx_ir.SymbolicDim("Gather::1_dim_0")
    macs = Quantity.of(odd, 8)
    assert macs.at(sizes({"Gather::1_dim_0": 3}, {})) == 24
    assert macs.at(sizes({}, {})) is None


def test_quantities_add_and_multiply() -> None:
    n, m = onnx_ir.SymbolicDim("n"), onnx_ir.SymbolicDim("m")
    found = (Quantity.of(n, 2) + Quantity.of(n, 3)) * Quantity.of(m)
    assert found.evaluate({"n": 2, "m": 7}) == 70
    assert found.names == {"n", "m"}
    assert (Quantity.of(onnx_ir.SymbolicDim(None)) + Quantity.of(1)).evaluate({}) is None
