# ruff: noqa: E501 (a graph reads best with its nodes on one line)
"""Chains of products: which become one, what they are then called, and why others stay."""

from __future__ import annotations

import itertools
import math
from itertools import pairwise

import numpy as np
import pytest

from netwright.ir.maps import Mapped, Merge
from tests.passes.merge.support import merge, merged, program
from tests.passes.simplify.weights import Weights

X2, X3 = "float[N, 16] x", "float[N, S, 16] x"
HALF = np.array(0.5, np.float32)

MERGED: dict[str, tuple[str, str, str, Weights, list[str]]] = {
    "MatMul": (X3, "float[N, S, 12] y", "h = MatMul(x, u) y = MatMul(h, v)", {"u": (16, 16), "v": (16, 12)}, ["MatMul"]),
    "one axis": ("float[16] x", "float[12] y", "h = MatMul(x, u) y = MatMul(h, v)", {"u": (16, 16), "v": (16, 12)}, ["MatMul"]),
    "biases": (X3, "float[N, S, 12] y", "h = MatMul(x, u) i = Add(h, b) j = MatMul(i, v) y = Add(c, j)", {"u": (16, 16), "v": (16, 12), "b": (16,), "c": (12,)}, ["MatMul", "Add"]),
    "an inner bias alone": (X3, "float[N, S, 12] y", "h = MatMul(x, u) i = Add(h, b) y = MatMul(i, v)", {"u": (16, 16), "v": (16, 12), "b": (1,)}, ["MatMul", "Add"]),
    "factors and identities between": (X3, "float[N, S, 12] y", "h = MatMul(x, u) i = Mul(h, s) j = Add(i, b) k = Identity(j) l = Div(k, s) y = MatMul(l, v)", {"u": (16, 16), "v": (16, 12), "b": (16,), "s": HALF}, ["MatMul", "Add"]),
    "Gemm": (X2, "float[N, 12] y", "h = Gemm<alpha: float = 0.5, transB: int = 1>(x, u, b) y = Gemm<beta: float = 2.0, transB: int = 1>(h, v, c)", {"u": (16, 16), "v": (12, 16), "b": (16,), "c": (12,)}, ["Gemm"]),
    "Gemm that keeps its beta": (X2, "float[N, 12] y", "h = MatMul(x, u) y = Gemm<beta: float = 2.0>(h, v, c)", {"u": (16, 16), "v": (16, 12), "c": (12,)}, ["Gemm"]),
    "Gemm with a computed bias": (X2 + ", float[N, 12] c", "float[N, 12] y", "h = MatMul(x, u) y = Gemm<beta: float = 0.5>(h, v, c)", {"u": (16, 16), "v": (16, 12)}, ["Gemm"]),
    "Gemm of transposed data": ("float[16, N] x", "float[N, 12] y", "h = Gemm<alpha: float = 0.5, transA: int = 1>(x, u, b) y = MatMul(h, v)", {"u": (16, 16), "v": (16, 12), "b": (16,)}, ["Gemm"]),
    "Transpose before a weight": (X3, "float[N, S, 12] y", "w = Transpose<perm: ints = [1, 0]>(u) h = MatMul(x, w) y = MatMul(h, v)", {"u": (16, 16), "v": (16, 12)}, ["MatMul"]),
    "from the left": ("float[N, 16, S] x", "float[N, 12, S] y", "h = MatMul(u, x) i = Add(h, b) y = MatMul(v, i)", {"u": (16, 16), "v": (12, 16), "b": (16, 1)}, ["MatMul", "Add"]),
    "Gemm from the left": ("float[16, N] x", "float[12, N] y", "h = Gemm<alpha: float = 0.5, transA: int = 1>(u, x, b) y = Gemm<beta: float = 2.0>(v, h, c)", {"u": (16, 16), "v": (12, 16), "b": (16, 1), "c": (12, 1)}, ["Gemm"]),
    "Gemm from the left of transposed data": ("float[N, 16] x", "float[12, N] y", "h = Gemm<transB: int = 1>(u, x, b) y = MatMul(v, h)", {"u": (16, 16), "v": (12, 16), "b": (1,)}, ["Gemm"]),
    "Gemm from the left that keeps its bias": ("float[16, 5] x", "float[12, 5] y", "h = MatMul(u, x) y = Gemm<transA: int = 1>(v, h, c)", {"u": (16, 16), "v": (16, 12), "c": (5,)}, ["Gemm"]),
    "many": (X3, "float[N, S, 9] y", "a = MatMul(x, p) b = MatMul(a, q) c = MatMul(b, r) y = MatMul(c, s)", {"p": (16, 20), "q": (20, 24), "r": (24, 20), "s": (20, 9)}, ["MatMul"]),
    "a table": ("int64[N, S] i", "float[N, S, 6] y", "h = Gather(t, i) k = Add(h, b) y = MatMul(k, w)", {"t": (9, 16), "b": (16,), "w": (16, 6)}, ["Gather", "Add"]),
    "a table and Gemm": ("int64[N] i", "float[N, 6] y", "h = Gather(t, i) y = Gemm(h, w, c)", {"t": (9, 16), "w": (16, 6), "c": (6,)}, ["Gather", "Add"]),
}  # fmt: skip


@pytest.mark.parametrize(("inputs", "outputs", "body", "weights", "left"), MERGED.values(), ids=MERGED.keys())
def test_a_chain_becomes_one_product(inputs: str, outputs: str, body: str, weights: Weights, left: list[str]):
    found = merge(inputs, outputs, body, weights)
    assert found.ops == left
    assert found.exact_maps == {name for name in found.weights if name.endswith(".merged")}
    assert len(found.exact_maps) == 1


STAYS: dict[str, tuple[str, str, str, Weights, str]] = {
    "low rank": ("float[N, S, 384] x", "float[N, S, 384] y", "h = MatMul(x, u) y = MatMul(h, v)", {"u": (384, 48), "v": (48, 384)}, "kept as factors: 384×48 and 48×384 are 36,864 parameters, the product 147,456"),
    "a weight that others read": (X3, "float[N, S, 20] y, float[N, S, 8] z", "h = MatMul(x, u) y = MatMul(h, v) r = Relu(x) z = MatMul(r, u)", {"u": (16, 8), "v": (8, 20)}, "%u stays: others read it too"),
    "the value between is an output": (X3, "float[N, S, 16] h, float[N, S, 12] y", "h = MatMul(x, u) y = MatMul(h, v)", {"u": (16, 16), "v": (16, 12)}, "%h, is an output of its graph"),
    "the value between is read elsewhere": (X3, "float[N, S, 16] r, float[N, S, 12] y", "h = MatMul(x, u) r = Relu(h) y = MatMul(h, v)", {"u": (16, 16), "v": (16, 12)}, "%h, has 2 readers"),
    "a table no smaller": ("int64[N, S] i", "float[N, S, 16] y", "h = Gather(t, i) y = MatMul(h, w)", {"t": (90, 6), "w": (6, 16)}, "90×6 and 6×16 are 636 parameters, the product 1,440"),
}  # fmt: skip


@pytest.mark.parametrize(("inputs", "outputs", "body", "weights", "reason"), STAYS.values(), ids=STAYS.keys())
def test_a_chain_that_stays_says_why(inputs: str, outputs: str, body: str, weights: Weights, reason: str):
    found = merge(inputs, outputs, body, weights)
    assert found.ops == [node.op_type for node in found.before.graph]
    assert reason in found.reasons


UNTOUCHED: dict[str, tuple[str, str, str, Weights]] = {
    "a nonlinearity between": (X3, "float[N, S, 12] y", "h = MatMul(x, u) r = Relu(h) y = MatMul(r, v)", {"u": (16, 16), "v": (16, 12)}),
    "left and right": ("float[16, 16] x", "float[12, 16] y", "h = MatMul(x, u) y = MatMul(v, h)", {"u": (16, 16), "v": (12, 16)}),
    "transposed in between": ("float[4, 16] x", "float[16, 12] y", "h = MatMul(x, u) y = Gemm<transA: int = 1>(h, v)", {"u": (16, 16), "v": (4, 12)}),
    "a factor that is data": (X3 + ", float[16] s", "float[N, S, 12] y", "h = MatMul(x, u) i = Mul(h, s) y = MatMul(i, v)", {"u": (16, 16), "v": (16, 12)}),
    "a weight that is data": (X3 + ", float[16, 12] v", "float[N, S, 12] y", "h = MatMul(x, u) y = MatMul(h, v)", {"u": (16, 16)}),
    "a bias for each place": ("float[N, 3, 16] x", "float[N, 3, 12] y", "h = MatMul(x, u) i = Add(h, b) y = MatMul(i, v)", {"u": (16, 16), "v": (16, 12), "b": (3, 16)}),
}  # fmt: skip


@pytest.mark.parametrize("when", ["smaller", "always"])
@pytest.mark.parametrize(("inputs", "outputs", "body", "weights"), UNTOUCHED.values(), ids=UNTOUCHED.keys())
def test_what_is_no_chain_is_left_alone(inputs: str, outputs: str, body: str, weights: Weights, when: str):
    found = merge(inputs, outputs, body, weights, when=when)
    assert found.ops == [node.op_type for node in found.before.graph]


def test_a_computed_bias_cannot_take_another_one_in():
    weights: Weights = {"u": (16, 16), "v": (16, 12), "b": (16,)}
    found = merge(X2 + ", float[N, 12] c", "float[N, 12] y", "h = Gemm(x, u, b) y = Gemm(h, v, c)", weights, when="always")
    assert found.ops == ["Gemm", "Gemm"]
    assert "the bias %c is not one constant number per channel" in found.reasons


def test_always_merges_what_grows():
    found = merge(X3, "float[N, S, 12] y", "h = MatMul(x, u) y = MatMul(h, v)", {"u": (16, 2), "v": (2, 12)}, when="always")
    assert found.ops == ["MatMul"]


def test_a_chain_is_cut_by_its_whole_numbers():
    body = "h = MatMul(x, a) i = MatMul(h, b) j = MatMul(i, c) y = MatMul(j, d)"
    found = merge(X3, "float[N, S, 12] y", body, {"a": (16, 40), "b": (40, 4), "c": (4, 40), "d": (40, 12)})
    assert sorted(found.weights.values()) == [(4, 12), (16, 4)]
    assert "16×4 and 4×12 are 112 parameters, the product 192" in found.reasons


def test_a_wide_chain_becomes_one():
    body = "h = MatMul(x, a) i = MatMul(h, b) j = MatMul(i, c) y = MatMul(j, d)"
    sizes: Weights = {"a": (16, 10), "b": (10, 16), "c": (16, 10), "d": (10, 16)}
    found = merge(X3, "float[N, S, 16] y", body, sizes)
    assert found.ops == ["MatMul"]
    assert list(found.weights.values()) == [(16, 16)]


def test_a_shared_factor_goes_into_all_that_read_it():
    body = "h = MatMul(x, a) i = Add(h, b) q = MatMul(i, wq) k0 = MatMul(i, wk) k = Add(k0, kb)"
    found = merge(X3, "float[N, S, 6] q, float[N, S, 6] k", body, {"a": (16, 16), "b": (16,), "wq": (16, 6), "wk": (16, 6), "kb": (6,)})
    assert found.ops == ["MatMul", "Add", "MatMul", "Add"]


def test_a_shared_factor_counts_once():
    sizes: Weights = {"a": (16, 5), "wq": (5, 6), "wk": (5, 6)}
    found = merge(X3, "float[N, S, 6] q, float[N, S, 6] k", "h = MatMul(x, a) q = MatMul(h, wq) k = MatMul(h, wk)", sizes)
    assert found.ops == ["MatMul"] * 3
    assert found.reasons == "kept as factors: 16×5, 5×6 and 5×6 are 140 parameters, the product 192"


def test_a_shared_factor_that_something_else_reads_stays():
    body = "h = MatMul(x, a) q = MatMul(h, wq) k = MatMul(h, wk) r = Relu(h)"
    outputs = "float[N, S, 6] q, float[N, S, 6] k, float[N, S, 16] r"
    found = merge(X3, outputs, body, {"a": (16, 16), "wq": (16, 6), "wk": (16, 6)}, when="always")
    assert found.ops == ["MatMul", "MatMul", "MatMul", "Relu"]
    assert "%h, has 3 readers" in found.reasons


def test_tied_layers_stay_tied():
    body = "h = MatMul(x, a) y = MatMul(h, b) i = MatMul(z, a) q = MatMul(i, b)"
    found = merge(X3 + ", float[N, T, 16] z", "float[N, S, 16] y, float[N, T, 16] q", body, {"a": (16, 16), "b": (16, 16)})
    assert found.ops == ["MatMul", "MatMul"]
    assert list(found.weights.values()) == [(16, 16)]


def test_a_table_and_the_head_that_is_its_transpose_stay_tied():
    body = """h = Gather(t, i) e = MatMul(h, b) r = Relu(e) bt = Transpose<perm: ints = [1, 0]>(b) tt = Transpose<perm: ints = [1, 0]>(t)
        k = MatMul(r, bt) y = MatMul(k, tt)"""
    found = merge("int64[N, S] i", "float[N, S, 9] y", body, {"t": (9, 8), "b": (8, 8)})
    assert sorted(found.ops) == ["Gather", "MatMul", "Relu", "Transpose"]
    assert len(found.weights) == 1


def test_names_come_back():
    made = program(f"g ({X3}) => (float[N, S, 12] y) {{ h = MatMul(x, u) y = MatMul(h, v) }}", {"u": (16, 16), "v": (16, 12)})
    for value in list(made.initializers()):
        value.name = f"w.{value.name}"
    found = merged(made, {})
    assert found.weights == {"w": (16, 12)}
    assert found.after.ledger.actions[0].maps["w"] == Mapped(Merge(), ("w.u", "w.v"))


def test_a_weight_that_stands_in_its_chain_twice_counts_once():
    found = merge(X3, "float[N, S, 16] y", "h = MatMul(x, a) y = MatMul(h, a)", {"a": (16, 16)})
    assert found.weights == {"a.merged": (16, 16)}
    sizes: Weights = {"a": (16, 4), "b": (4, 16)}
    found = merge(X3, "float[N, S, 16] y", "h = MatMul(x, a) i = MatMul(h, b) j = MatMul(i, a) y = MatMul(j, b)", sizes)
    assert found.ops == ["MatMul"] * 4
    assert "16×4, 4×16, 16×4 and 4×16 are 128 parameters, the product 256" in found.reasons


def test_excluded_factors_stay():
    found = merge(X3, "float[N, S, 12] y", "h = MatMul(x, u) y = MatMul(h, v)", {"u": (16, 16), "v": (16, 12)}, exclude="u*")
    assert found.reasons == "kept as factors: excluded by 'u*'"


def test_a_product_that_does_not_fit_its_type_stays():
    weights: Weights = {"u": np.full((4, 4), 300, np.float16), "v": np.full((4, 4), 300, np.float16)}
    found = merge("float16[N, 4] x", "float16[N, 4] y", "h = MatMul(x, u) y = MatMul(h, v)", weights)
    assert found.ops == ["MatMul", "MatMul"]
    assert "does not fit float16: its largest element is 3.6e+05" in found.reasons


def test_the_best_cut_has_the_fewest_parameters():
    """Of all 32 cuts of six links, by counting them."""
    sizes = [7, 3, 11, 5, 4, 13, 9]
    names = "abcdef"
    weights: Weights = {name: (sizes[i], sizes[i + 1]) for i, name in enumerate(names)}
    body = " ".join(
        f"{'y' if name == 'f' else name + 'o'} = MatMul({'x' if i == 0 else names[i - 1] + 'o'}, {name})" for i, name in enumerate(names)
    )
    found = merge("float[N, 7] x", "float[N, 9] y", body, weights)
    left = sum(math.prod(shape) for shape in found.weights.values())
    inner = range(1, 6)
    cuts = [cut for count in range(6) for cut in itertools.combinations(inner, count)]
    least = min(sum(a * b for a, b in pairwise([7, *(sizes[i] for i in cut), 9])) for cut in cuts)
    assert left == least
