# ruff: noqa: E501 (a graph reads best with its nodes on one line)
"""Factors go into weights; two factors of one product become one; what would change shapes or ties stays."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.ir.program import array
from tests.passes.simplify.support import simplified
from tests.passes.simplify.weights import Weights, program

CHANNELS = np.linspace(0.5, 2, 8, dtype=np.float32)

FOLDED: dict[str, tuple[str, str, str, Weights, list[str]]] = {
    "Conv": ("float[N, 3, 9] x", "float[N, 8, 7] y", "c = Conv(x, w, b) y = Mul(c, s)", {"w": (8, 3, 3), "b": (8,), "s": CHANNELS.reshape(8, 1)}, ["Conv"]),
    "Conv and a quotient": ("float[N, 3, 9] x", "float[N, 8, 7] y", "c = Conv(x, w) y = Div(c, s)", {"w": (8, 3, 3), "s": CHANNELS.reshape(1, 8, 1)}, ["Conv"]),
    "MatMul": ("float[N, S, 5] x", "float[N, S, 8] y", "c = MatMul(x, w) y = Mul(s, c)", {"w": (5, 8), "s": CHANNELS}, ["MatMul"]),
    "MatMul and Add": (
        "float[N, S, 5] x",
        "float[N, S, 8] y",
        "c = MatMul(x, w) d = Add(c, b) y = Mul(d, s)",
        {"w": (5, 8), "b": (8,), "s": CHANNELS},
        ["MatMul", "Add"],
    ),
    "MatMul and one number added": (
        "float[N, S, 5] x",
        "float[N, S, 8] y",
        "c = MatMul(x, w) d = Add(c, b) y = Mul(d, s)",
        {"w": (5, 8), "b": (1,), "s": CHANNELS},
        ["MatMul", "Add"],
    ),
    "Gemm": ("float[N, 5] x", "float[N, 8] y", "c = Gemm<beta: float = 0.5>(x, w, b) y = Mul(c, s)", {"w": (5, 8), "b": (1, 8), "s": CHANNELS}, ["Gemm"]),
    "LayerNormalization": ("float[N, 8] x", "float[N, 8] y", "c = LayerNormalization(x, w, b) y = Mul(c, s)", {"w": (8,), "b": (8,), "s": CHANNELS}, ["LayerNormalization"]),
    "InstanceNormalization": (
        "float[N, 8, 5] x",
        "float[N, 8, 5] y",
        "c = InstanceNormalization(x, w, b) d = Mul(c, s) y = Add(d, s)",
        {"w": (8,), "b": (8,), "s": CHANNELS.reshape(8, 1)},
        ["InstanceNormalization"],
    ),
    "one number through views": (
        "float[N, S, 5] x",
        "float[N, 2, S, 4] y",
        "c = MatMul(x, w) d = Add(b, c) shape = Constant<value_ints: ints = [0, 0, 2, 4]>() r = Reshape(d, shape) t = Transpose<perm: ints = [0, 2, 1, 3]>(r) y = Mul(t, s)",
        {"w": (5, 8), "b": (8,), "s": np.array(0.125, np.float32)},
        ["MatMul", "Add", "Reshape", "Transpose"],
    ),
    "one number through a product": (
        "float[N, S, 5] x, float[N, 8, S] k",
        "float[N, S, S] y",
        "c = MatMul(x, w) p = MatMul(c, k) y = Div(p, s)",
        {"w": (5, 8), "s": np.array(8.0, np.float32)},
        ["MatMul", "MatMul"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("inputs", "outputs", "body", "weights", "left"), FOLDED.values(), ids=FOLDED.keys())
def test_a_factor_goes_into_the_weights(inputs: str, outputs: str, body: str, weights: Weights, left: list[str]):
    assert simplified(program(f"g ({inputs}) => ({outputs}) {{ {body} }}", weights)).ops == left


def test_one_part_of_a_split_projection_is_scaled_alone():
    text = """g (float[N, S, 5] x) => (float[N, S, 4] y, float[N, S, 4] z) { c = MatMul(x, w) d = Add(c, b)
        q, k = Split<axis: int = -1, num_outputs: int = 2>(d) y = Mul(q, s) z = Relu(k) }"""
    weights = {"w": (5, 8), "b": (8,), "s": np.array(0.5, np.float32)}
    found = simplified(program(text, weights))
    assert sorted(found.ops) == ["Add", "MatMul", "Relu", "Split"]
    action = next(action for action in found.after.ledger.actions if action.rule == "fold_scale")
    np.testing.assert_array_equal(action.maps["b"].map.apply(np.ones(8)), [0.5] * 4 + [1.0] * 4)


def test_factors_on_both_sides_of_a_product_become_one_exact_power_of_two():
    root = np.array(0.35355338, np.float32)
    text = "g (float[N, S, 8] q, float[N, 8, T] k) => (float[N, S, T] y) { a = Relu(q) b = Relu(k) l = Mul(a, s) r = Mul(b, s) y = MatMul(l, r) }"
    found = simplified(program(text, {"s": root}))
    assert sorted(found.ops) == ["MatMul", "Mul", "Relu", "Relu"]
    factor = next(
        value
        for node in found.after.graph
        if node.op_type == "Mul"
        for value in node.inputs
        if value is not None and value.const_value is not None
    )
    number = array(factor)
    assert number is not None
    assert float(number) == 0.125


STAYS: dict[str, tuple[str, str, str, Weights]] = {
    "a channel of one that would broadcast up": ("float[N, 3, 9] x", "float[N, 8, 7] y", "c = Conv(x, w) y = Mul(c, s)", {"w": (1, 3, 3), "s": CHANNELS.reshape(8, 1)}),
    "another axis": ("float[N, 3, 10] x", "float[N, 8, 8] y", "c = Conv(x, w) y = Mul(c, s)", {"w": (8, 3, 3), "s": CHANNELS}),
    "a higher rank": ("float[N, 5] x", "float[1, N, 8] y", "c = MatMul(x, w) y = Mul(c, s)", {"w": (5, 8), "s": CHANNELS.reshape(1, 1, 8)}),
    "a batched weight": ("float[2, N, 5] x", "float[2, N, 8] y", "c = MatMul(x, w) y = Mul(c, s)", {"w": (2, 5, 8), "s": CHANNELS}),
}  # fmt: skip


@pytest.mark.parametrize(("inputs", "outputs", "body", "weights"), STAYS.values(), ids=STAYS.keys())
def test_a_factor_that_is_not_one_per_channel_stays(inputs: str, outputs: str, body: str, weights: Weights):
    assert "Mul" in simplified(program(f"g ({inputs}) => ({outputs}) {{ {body} }}", weights)).ops


def test_guards_say_why():
    weights = {"w": (5, 8), "s": CHANNELS}
    text = "g (float[N, S, 5] x) => (float[N, S, 8] y, float[N, S, 8] c) { c = MatMul(x, w) y = Mul(c, s) }"
    assert "also an output" in simplified(program(text, weights)).misses("fold_scale")[0].reason
    text = "g (float[N, S, 5] x, float[N, 5] z) => (float[N, S, 8] y, float[N, 8] d) { c = MatMul(x, w) y = Mul(c, s) d = MatMul(z, w) }"
    assert "tied: %w has 2 readers" in simplified(program(text, weights)).misses("fold_scale")[0].reason
    text = "g (float[N, S, 5] x) => (float[N, S, 8] y) { c = MatMul(x, w) y = Mul(c, s) }"
    assert "Trainable" in simplified(program(text, weights, properties=frozenset({"Trainable"}))).misses("fold_scale")[0].reason


def test_a_factor_of_nought_divides_nothing():
    text = "g (float[N, S, 5] x) => (float[N, S, 8] y) { c = MatMul(x, w) y = Div(c, s) }"
    assert simplified(program(text, {"w": (5, 8), "s": np.zeros(8, np.float32)}), values=False).ops == ["MatMul", "Div"]


@pytest.mark.parametrize(("first", "second"), [(1e30, 1e30), (-1e20, 1e30)])
def test_two_factors_whose_product_the_type_cannot_hold_stay_two(first: float, second: float):
    weights: Weights = {"a": np.array(first, np.float32), "b": np.array(second, np.float32)}
    text = "g (float[N, 4] x) => (float[N, 4] y) { r = Relu(x) c = Mul(r, a) y = Mul(c, b) }"
    assert simplified(program(text, weights)).ops == ["Relu", "Mul", "Mul"]
    text = "g (float[N, 4] x, float[4, M] z) => (float[N, M] y) { c = Mul(x, a) d = Mul(z, b) y = MatMul(c, d) }"
    assert simplified(program(text, weights)).ops == ["Mul", "Mul", "MatMul"]
