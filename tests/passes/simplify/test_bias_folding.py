# ruff: noqa: E501 (a graph reads best with its nodes on one line)
"""Summands go into biases; a product of two dimensions and its bias become Gemm."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.simplify.support import simplified
from tests.passes.simplify.weights import program

FOLDED: dict[str, tuple[str, str, str, dict[str, tuple[int, ...]], list[str]]] = {
    "Conv": ("float[N, 3, 9] x", "float[N, 8, 7] y", "c = Conv(x, w) y = Add(c, s)", {"w": (8, 3, 3), "s": (8, 1)}, ["Conv"]),
    "Conv with a bias, from the left": ("float[N, 3, 9] x", "float[N, 8, 7] y", "c = Conv(x, w, b) y = Add(s, c)", {"w": (8, 3, 3), "b": (8,), "s": (1, 8, 1)}, ["Conv"]),
    "a difference": ("float[N, 3, 9] x", "float[N, 8, 7] y", "c = Conv(x, w, b) y = Sub(c, s)", {"w": (8, 3, 3), "b": (8,), "s": (8, 1)}, ["Conv"]),
    "one number": ("float[N, 3, 9] x", "float[N, 8, 7] y", "c = Conv(x, w, b) y = Add(c, s)", {"w": (8, 3, 3), "b": (8,), "s": ()}, ["Conv"]),
    "ConvTranspose": ("float[N, 6, 5] x", "float[N, 8, 7] y", "c = ConvTranspose<group: int = 2>(x, w) y = Add(c, s)", {"w": (6, 4, 3), "s": (8, 1)}, ["ConvTranspose"]),
    "Gemm with half a bias": ("float[N, 5] x", "float[N, 8] y", "c = Gemm<beta: float = 0.5>(x, w, b) y = Add(c, s)", {"w": (5, 8), "b": (8,), "s": (8,)}, ["Gemm"]),
    "Gemm with a bias that counts for nothing": ("float[N, 5] x", "float[N, 8] y", "c = Gemm<beta: float = 0.0>(x, w, b) y = Add(c, s)", {"w": (5, 8), "b": (8,), "s": (8,)}, ["Gemm"]),
    "MatMul of two dimensions": ("float[N, 5] x", "float[N, 8] y", "c = MatMul(x, w) y = Add(c, s)", {"w": (5, 8), "s": (8,)}, ["Gemm"]),
    "a product of two inputs": ("float[N, 5] x, float[5, M] z", "float[N, M] y", "c = MatMul(x, z) y = Add(s, c)", {"s": ()}, ["Gemm"]),
    "a transposed weight": ("float[N, 5] x, float[8, 5] z", "float[N, 8] y", "t = Transpose<perm: ints = [1, 0]>(z) c = MatMul(x, t) y = Add(c, s)", {"s": (8,)}, ["Gemm"]),
    "two vectors in a row": ("float[N, S, 8] x", "float[N, S, 8] y", "c = Add(x, s) y = Add(c, t)", {"s": (8,), "t": (8,)}, ["Add"]),
    "two factors in a row": ("float[N, S, 8] x", "float[N, S, 8] y", "c = Mul(s, x) y = Mul(c, t)", {"s": (1, 8), "t": (8,)}, ["Mul"]),
}  # fmt: skip

STAYS: dict[str, tuple[str, str, str, dict[str, tuple[int, ...]], list[str]]] = {
    "MatMul of three dimensions": ("float[N, S, 5] x", "float[N, S, 8] y", "c = MatMul(x, w) y = Add(c, s)", {"w": (5, 8), "s": (8,)}, ["MatMul", "Add"]),
    "a summand that broadcasts up": ("float[N, 3, 9] x", "float[N, 8, 7] y", "c = Conv(x, w) y = Add(c, s)", {"w": (1, 3, 3), "s": (8, 1)}, ["Conv", "Add"]),
    "another axis": ("float[N, 3, 10] x", "float[N, 8, 8] y", "c = Conv(x, w) y = Add(c, s)", {"w": (8, 3, 3), "s": (8,)}, ["Conv", "Add"]),
    "a constant minus the result": ("float[N, 3, 9] x", "float[N, 8, 7] y", "c = Conv(x, w) y = Sub(s, c)", {"w": (8, 3, 3), "s": (8, 1)}, ["Conv", "Sub"]),
    "vectors of different axes": ("float[N, 4, 8] x", "float[N, 4, 8] y", "c = Add(x, s) y = Add(c, t)", {"s": (8,), "t": (4, 1)}, ["Add", "Add"]),
    "a bias of a higher rank": ("float[N, 5] x", "float[2, N, 8] y", "c = MatMul(x, w) y = Add(c, s)", {"w": (5, 8), "s": (2, 1, 8)}, ["MatMul", "Add"]),
}  # fmt: skip


@pytest.mark.parametrize(("inputs", "outputs", "body", "weights", "left"), FOLDED.values(), ids=FOLDED.keys())
def test_a_summand_goes_into_the_bias(inputs: str, outputs: str, body: str, weights: dict[str, tuple[int, ...]], left: list[str]):
    made = {name: np.random.default_rng(len(name)).normal(size=shape).astype(np.float32) for name, shape in weights.items()}
    assert simplified(program(f"g ({inputs}) => ({outputs}) {{ {body} }}", made)).ops == left


@pytest.mark.parametrize(("inputs", "outputs", "body", "weights", "left"), STAYS.values(), ids=STAYS.keys())
def test_what_is_no_bias_stays(inputs: str, outputs: str, body: str, weights: dict[str, tuple[int, ...]], left: list[str]):
    assert simplified(program(f"g ({inputs}) => ({outputs}) {{ {body} }}", weights)).ops == left


def test_a_result_read_twice_keeps_its_summand():
    text = "g (float[N, 3, 9] x) => (float[N, 8, 7] y) { c = Conv(x, w) a = Add(c, s) y = Mul(a, c) }"
    found = simplified(program(text, {"w": (8, 3, 3), "s": (8, 1)}))
    assert found.ops == ["Conv", "Add", "Mul"]
    assert "%c has 2 readers" in found.misses("fold_bias")[0].reason


def test_a_matrix_added_to_a_product_is_no_bias():
    text = "g (float[N, 5] x, float[N, 8] z) => (float[N, 8] y) { c = MatMul(x, w) y = Add(c, z) }"
    assert simplified(program(text, {"w": (5, 8)})).ops == ["MatMul", "Add"]


def test_a_bias_that_is_not_constant_is_a_miss():
    text = "g (float[N, 3, 9] x, float[8] b) => (float[N, 8, 7] y) { c = Conv(x, w, b) y = Add(c, s) }"
    found = simplified(program(text, {"w": (8, 3, 3), "s": (8, 1)}))
    assert "bias of %c is not constant" in found.misses("fold_bias")[0].reason


@pytest.mark.parametrize("back", ["shape = Shape(x)", "shape = Constant<value_ints: ints = [-1, 4, 6]>()"])
@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
def test_a_softmax_needs_no_flattening(operator: str, back: str):
    text = f"g (float[N, 4, 6] x) => (float[N, 4, 6] y) {{ {back} a = Flatten<axis: int = 2>(x) b = {operator}(a) y = Reshape(b, shape) }}"
    assert simplified(program(text)).ops == [operator]


@pytest.mark.parametrize(
    "body", ["a = Flatten<axis: int = 1>(x) b = Softmax(a)", "a = Flatten<axis: int = 2>(x) b = Softmax<axis: int = 0>(a)"]
)
def test_a_softmax_over_flattened_axes_stays(body: str):
    text = f"g (float[N, 4, 6] x) => (float[N, 4, 6] y) {{ shape = Shape(x) {body} y = Reshape(b, shape) }}"
    assert len(simplified(program(text)).ops) == 3
