"""Which weights are factors of a product, read off the graph."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.ir.program import Program
from netwright.training.factors import factor_chains
from tests.passes.programs import program_of


def rows_program(body: str, output: str = "float[N, M] y", **shapes: tuple[int, ...]) -> Program:
    return graph(body, "float[N, 8] x", output, **shapes)


def graph(body: str, inputs: str, output: str, **shapes: tuple[int, ...]) -> Program:
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return program_of(f'<ir_version: 10, opset_import: ["" : 20]> g ({inputs}, WEIGHTS) => ({output}) {{ {body} }}', weights)


def names(program: Program) -> list[tuple[str, ...]]:
    return [tuple(factor.weight for factor in chain) for chain in factor_chains(program)]


def test_products_with_nothing_between_are_a_chain_and_the_last_may_have_a_bias() -> None:
    body = "a = MatMul (x, v) b = Gemm <transB = 1> (a, u, c) r = Relu (b) y = MatMul (r, w)"
    assert names(rows_program(body, v=(8, 3), u=(6, 3), c=(6,), w=(6, 8))) == [("v", "u")]


def test_three_factors_are_one_chain() -> None:
    body = "a = MatMul (x, f0) b = MatMul (a, f1) y = MatMul (b, f2)"
    assert names(rows_program(body, f0=(8, 3), f1=(3, 4), f2=(4, 6))) == [("f0", "f1", "f2")]


def test_a_transposed_weight_is_read_through_its_transpose() -> None:
    body = "vt = Transpose <perm = [1, 0]> (v) a = MatMul (x, vt) y = MatMul (a, u)"
    (chain,) = factor_chains(rows_program(body, v=(3, 8), u=(3, 6)))
    assert [(factor.weight, factor.split, factor.perm) for factor in chain] == [("v", (1, 3, 8), (0, 2, 1)), ("u", (1, 3, 6), (0, 1, 2))]


@pytest.mark.parametrize(
    "body",
    [
        "a = MatMul (x, v) b = Relu (a) y = MatMul (b, u)",
        "a = Gemm (x, v, c) y = MatMul (a, u)",
        "a = Gemm <alpha = 0.5> (x, v) y = MatMul (a, u)",
        "a = MatMul (x, v) b = MatMul (a, u) d = ReduceSum (a) y = Add (b, d)",
        "a = MatMul (x, v) b = MatMul (a, u) d = Relu (b) f = MatMul (d, w) g = Relu (f) y = MatMul (g, u)",
    ],
    ids=["an activation between", "a bias between", "scaled", "read by something else, too", "a factor that is also a weight by itself"],
)
def test_what_is_no_chain(body: str) -> None:
    assert names(rows_program(body, v=(8, 3), u=(3, 6), w=(6, 3), c=(3,))) == []


def test_factors_that_several_products_share_make_a_chain_each() -> None:
    body = "a = MatMul (x, v) q = MatMul (a, uq) k = MatMul (a, uk) y = Mul (q, k)"
    assert names(rows_program(body, v=(8, 3), uq=(3, 6), uk=(3, 6))) == [("v", "uq"), ("v", "uk")]


def test_a_product_that_is_computed_twice_is_one_chain() -> None:
    body = "a = MatMul (x, v) b = MatMul (a, u) r = Relu (b) c = MatMul (r, v) y = MatMul (c, u)"
    assert names(rows_program(body, v=(8, 3), u=(3, 8))) == [("v", "u")]


def test_a_table_that_is_also_the_head_is_one_product() -> None:
    body = """e = Gather (t, i) h = MatMul (e, v) r = Relu (h)
        vt = Transpose <perm = [1, 0]> (v) tt = Transpose <perm = [1, 0]> (t) z = MatMul (r, vt) y = MatMul (z, tt)"""
    assert names(graph(body, "int64[N] i", "float[N, 20] y", t=(20, 3), v=(3, 8))) == [("t", "v")]


def test_convolutions_chain_where_their_taps_lie_along_different_axes() -> None:
    body = "a = Conv (x, f0) b = Conv <pads = [1, 1, 1, 1]> (a, f1) y = Conv (b, f2, c)"
    tucker = graph(body, "float[N, 8, 9, 9] x", "float[N, 6, H, W] y", f0=(3, 8, 1, 1), f1=(4, 3, 3, 3), f2=(6, 4, 1, 1), c=(6,))
    assert names(tucker) == [("f0", "f1", "f2")]
    body = "a = Conv <strides = [2, 1]> (x, f0) y = Conv <strides = [1, 2]> (a, f1)"
    assert names(graph(body, "float[N, 8, 9, 9] x", "float[N, 6, H, W] y", f0=(3, 8, 3, 1), f1=(6, 3, 1, 3))) == [("f0", "f1")]
    assert names(graph(body, "float[N, 8, 9, 9] x", "float[N, 6, H, W] y", f0=(3, 8, 3, 1), f1=(6, 3, 3, 3))) == []


def test_convolutions_with_different_groups_are_no_product() -> None:
    body = "a = Conv <group = 8> (x, f0) y = Conv (a, f1)"
    assert names(graph(body, "float[N, 8, 9, 9] x", "float[N, 6, H, W] y", f0=(8, 1, 3, 3), f1=(6, 8, 1, 1))) == []


def test_the_input_weight_of_a_recurrent_layer_ends_a_chain_but_does_not_follow_a_table() -> None:
    shapes = {"v": (8, 3), "w": (1, 20, 3), "r": (1, 20, 5)}
    product = graph("a = MatMul (x, v) y = LSTM <hidden_size = 5> (a, w, r)", "float[T, N, 8] x", "float[T, D, N, 5] y", **shapes)
    assert names(product) == [("v", "w")]
    table = graph("a = Gather (v, x) y = LSTM <hidden_size = 5> (a, w, r)", "int64[T, N] x", "float[T, D, N, 5] y", **shapes)
    assert names(table) == []
