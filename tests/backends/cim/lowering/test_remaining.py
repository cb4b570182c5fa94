"""Products that no lowering takes are misses, wherever they stand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from netwright.ir.ledger import Miss
from netwright.ir.program import Program
from tests.backends.cim.lowering.graphs import lowered, parsed

ONES = np.ones((4, 4), np.float32)
HEAD = '<ir_version: 10, opset_import: ["" : 20, "com.microsoft" : 1]>\n'


def misses(program: Program) -> list[Miss]:
    return [miss for miss in lowered(program).ledger.misses if miss.rule == "crossbars"]


def only(text: str, weights: Mapping[str, np.ndarray]) -> tuple[str, str]:
    (miss,) = misses(parsed(HEAD + text, weights))
    return miss.site, miss.reason


def gates(count: int) -> dict[str, np.ndarray]:
    return {"w": np.ones((1, 4 * count, 3), np.float32), "r": np.ones((1, 4 * count, 4), np.float32)}


@pytest.mark.parametrize(("layer", "count"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_a_recurrent_layer_is_to_be_unrolled(layer: str, count: int) -> None:
    text = f"g (float[5, 1, 3] x) => (float[5, 1, 1, 4] y) {{ y = {layer} <hidden_size = 4> (x, w, r) }}"
    where, reason = only(text, gates(count))
    assert where == "y"
    assert reason.startswith(f"{layer} is a whole recurrent layer")
    assert "run unroll first, then quantize(scheme='static')" in reason


@pytest.mark.parametrize(
    ("text", "weights", "reason"),
    [
        (
            "g (float[1, 2, 4, 4] x) => (float[1, 3, 8, 8] y) { y = ConvTranspose <strides = [2, 2]> (x, w) }",
            {"w": np.ones((2, 3, 2, 2), np.float32)},
            "ConvTranspose, stride 2×2, adds overlapping windows",
        ),
        ('g (float[3, 4] x) => (float[3, 4] y) { y = Einsum <equation = "ab,bc->ac"> (x, w) }', {"w": ONES}, "2 operands, ab,bc->ac"),
        (
            "g (float[3, 32] x) => (float[3, 4] y) { y = com.microsoft.MatMulNBits <K = 32, N = 4, bits = 4, block_size = 16> (x, w, s) }",
            {"w": np.zeros((4, 2, 8), np.uint8), "s": np.ones(8, np.float32)},
            "MatMulNBits: weights of 4 bits with a scale for each 16 rows, and a column has one",
        ),
        (
            "g (float[3, 4] x) => (float[3, 4] y) { y = com.microsoft.FusedMatMul <alpha = 0.5> (x, w) }",
            {"w": ONES},
            "FusedMatMul is ONNX Runtime's own fusion",
        ),
        (
            "g (float[3, 4] x) => (float[3, 4] y) { y = com.microsoft.DynamicQuantizeMatMul (x, w, s) }",
            {"w": np.ones((4, 4), np.int8), "s": np.float32(0.1)},
            "DynamicQuantizeMatMul is ONNX Runtime's own form of quantized products",
        ),
    ],
)
def test_it_says_what_would_bring_it_onto_arrays(text: str, weights: Mapping[str, np.ndarray], reason: str) -> None:
    where, found = only(text, weights)
    assert where == "y"
    assert reason in found


def test_an_einsum_of_one_operand_is_no_product() -> None:
    assert misses(parsed(HEAD + 'g (float[3, 4] x) => (float[4, 3] y) { y = Einsum <equation = "ab->ba"> (x) }', {})) == []


def test_products_inside_branches() -> None:
    text = """g (bool c, float[3, 4] x) => (float[3, 4] y) {
        y = If (c) <then_branch = t () => (float[3, 4] a) { a = MatMul (x, w) }, else_branch = e () => (float[3, 4] b) { b = Neg (x) }>
    }"""
    where, reason = only(text, {"w": ONES})
    assert where == "a"
    assert reason.startswith("MatMul stands inside the body of the If %y")
    assert "simplify inlines a branch whose condition is constant" in reason


@pytest.mark.parametrize("inner", ["b = MatMul (x, w)", "b = Gemm (x, w)"])
def test_products_inside_loops(inner: str) -> None:
    text = f"""g (int64 n, float[3, 4] x) => (float[3, 4] y) {{
        y = Loop (n, , x) <body = l (int64 i, bool k, float[3, 4] a) => (bool o, float[3, 4] b) {{ o = Identity (k) {inner} }}>
    }}"""
    where, reason = only(text, {"w": ONES})
    assert where == "b"
    assert "the body of the Loop %y" in reason
    assert "write its steps out in the model" in reason


def test_products_inside_functions() -> None:
    text = """<ir_version: 10, opset_import: ["" : 20, "own" : 1]>
    g (float[3, 4] x) => (float[3, 4] y) { y = own.layer (x, w) }
    <domain: "own", opset_import: ["" : 20]>
    layer (a, b) => (c) { c = MatMul (a, b) }"""
    (miss,) = misses(parsed(text, {"w": ONES}))
    assert miss.site == "c"
    assert "inside the function layer" in miss.reason
    assert "run simplify first" in miss.reason
