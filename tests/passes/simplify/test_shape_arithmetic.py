"""Computed shapes that are known, or stand in an input's shape already; dynamic dimensions stay dynamic."""

from __future__ import annotations

import pytest

from tests.passes.simplify.support import simplify
from tests.passes.simplify.test_chains import ints


def test_the_shape_of_a_static_value_is_a_constant():
    text = "g (float[2, 3] x) => (int64[2] y) { s = Shape(x) t = Add(s, s) y = Abs(t) }"
    found = simplify(text)
    assert "Shape" not in found.ops


def test_a_dynamic_shape_stays():
    found = simplify("g (float[N, 3] x) => (int64[2] y) { s = Shape(x) y = Abs(s) }")
    assert "Shape" in found.ops


def test_a_known_part_of_a_dynamic_shape_is_a_constant():
    text = f"""g (float[N, 6] x, float[M, 3] z) => (float[M, 18] y)
    {{ s = Shape(x) {ints("i", 1)} n = Gather(s, i) {ints("o", 3)} w = Mul(n, o) {ints("m", -1)} t = Concat<axis: int = 0>(m, w)
      e = Concat<axis: int = 1>(z, z, z, z, z, z) y = Reshape(e, t) }}"""
    assert simplify(text).ops == ["Concat"]


def test_one_dimension_is_read_by_shape_itself():
    text = f"g (float[N, S] x) => (int64[1] y) {{ s = Shape(x) {ints('i', 1)} n = Gather(s, i) y = Neg(n) }}"
    found = simplify(text)
    assert found.ops == ["Shape", "Neg"]


def test_dimensions_put_together_again_are_one_shape():
    text = f"""g (float[N, S, 4] x, float z) => (float[N, S] y)
    {{ s = Shape(x) {ints("i", 0)} {ints("j", 1)} a = Gather(s, i) b = Gather(s, j) t = Concat<axis: int = 0>(a, b) y = Expand(z, t) }}"""
    assert simplify(text).ops == ["Shape", "Expand"]


def test_scalars_of_a_shape_become_vectors_again():
    text = f"""g (float[N, S, 4] x, float z) => (float[N, S] y)
    {{ s = Shape(x) i = Constant<value_int: int = 0>() j = Constant<value_int: int = 1>() {ints("zero", 0)}
      a = Gather(s, i) b = Gather(s, j) c = Unsqueeze(a, zero) d = Unsqueeze(b, zero) t = Concat<axis: int = 0>(c, d) y = Expand(z, t) }}"""
    assert simplify(text).ops == ["Shape", "Expand"]


def test_arithmetic_that_cancels_is_read_from_the_input():
    text = """g (float[N, S] x) => (int64[S] y) <int64 zero = {0}, int64 one = {1}>
    { s = Shape<start: int = 1>(x) n = Squeeze(s) t = Add(n, one) u = Sub(t, one) y = Range(zero, u, one) }"""
    assert simplify(text).ops == ["Shape", "Squeeze", "Range"]


def test_an_operand_expanded_for_nothing_is_not_expanded():
    text = "g (float[N, S] x, float[S] z) => (float[N, S] y) { s = Shape(x) e = Expand(z, s) y = Add(x, e) }"
    assert simplify(text).ops == ["Add"]


def test_an_operand_that_must_be_expanded_is():
    text = """g (float[N, 1] x, float[S] z) => (float[N, S] y) { n = Shape<end: int = 1>(x) t = Shape(z)
    s = Concat<axis: int = 0>(n, t) e = Expand(z, s) y = Exp(e) }"""
    assert "Expand" in simplify(text).ops


def test_an_operand_of_an_unknown_broadcast_stays_expanded():
    text = "g (float[N] x, float[M] z) => (float[K] y) { s = Shape(x) e = Expand(z, s) y = Add(x, e) }"
    assert "Expand" in simplify(text, values=False).ops


def test_expand_sinks_behind_a_choice_between_scalars():
    text = """g (bool[N, 1] m, float[N, S] x) => (float[N, S] y) <float zero = {0}, float low = {-9}>
    { s = Shape(x) e = Expand(m, s) w = Where(e, zero, low) y = Add(x, w) }"""
    assert simplify(text).ops == ["Where", "Add"]


MASK = """g (int64[B, S] mask, float[B, H, S, S] scores) => (float[B, H, S, S] y)
<int64 zero = {0}, int64 one = {1}, int64[1] last = {-1}, int64[2] middle = {1, 2}, int64[1] three = {3}, int64[2]
    front = {0, 1}, int64[1] two = {2}, bool yes = {1}, float nought = {0}, float low = {-10000}>
{
    keep = Cast<to: int = 9>(mask)
    b1 = Shape<start: int = 0, end: int = 1>(mask) b = Squeeze(b1)
    s1 = Shape<start: int = 1, end: int = 2>(mask) s = Squeeze(s1)
    rows = Range(zero, b, one) cols = Range(zero, s, one)
    r3 = Unsqueeze(rows, middle) r4 = Unsqueeze(r3, three)
    c3 = Unsqueeze(cols, front) q4 = Unsqueeze(c3, three) k4 = Unsqueeze(c3, two)
    valid = GreaterOrEqual(q4, zero) both = And(yes, valid)
    size = Max(r4, k4) shape = Shape(size)
    ri = Expand(r4, shape) rc = Unsqueeze(ri, last)
    ki = Expand(k4, shape) kc = Unsqueeze(ki, last)
    index = Concat<axis: int = -1>(rc, kc)
    seen = GatherND(keep, index)
    allowed = And(both, seen)
    bias = Where(allowed, nought, low)
    y = Add(scores, bias)
}"""


def test_a_padding_mask_as_transformers_writes_it_is_four_nodes():
    assert sorted(simplify(MASK).ops) == ["Add", "Cast", "Unsqueeze", "Where"]


def test_a_look_up_in_another_order_stays():
    found = simplify(MASK.replace("Concat<axis: int = -1>(rc, kc)", "Concat<axis: int = -1>(kc, rc)"), values=False)
    assert "GatherND" in found.ops


def test_a_look_up_that_does_not_start_at_zero_stays():
    found = simplify(MASK.replace("cols = Range(zero, s, one)", "t = Add(s, one) cols = Range(one, t, one)"), values=False)
    assert "GatherND" in found.ops


@pytest.mark.parametrize("row", [0, 2])
def test_a_look_up_of_one_row_that_is_broadcast_is_a_constant(row: int):
    text = f"""g (int64[B, S] i, float[B, S, 2] x) => (float[B, S, 2] y) <float[3,2] w = {{1, 2, 3, 4, 5, 6}}, int64 row = {{{row}}}>
    {{ s = Shape(i) j = Expand(row, s) e = Gather(w, j) y = Add(x, e) }}"""
    assert simplify(text).ops == ["Add"]


def test_a_look_up_of_one_row_that_is_needed_in_full_stays():
    text = """g (int64[B, S] i) => (float[B, S, 2] y) <float[3,2] w = {1, 2, 3, 4, 5, 6}, int64 row = {1}>
    { s = Shape(i) j = Expand(row, s) e = Gather(w, j) y = Exp(e) }"""
    assert "Gather" in simplify(text).ops


def test_a_boolean_attention_mask_that_is_true_goes():
    text = """g (float[B, 2, S, 4] q, float[B, 2, S, 4] k, float[B, 2, S, 4] v) => (float[B, 2, S, 4] y) <bool yes = {1}>
    { s = Shape<start: int = 2, end: int = 3>(q) t = Concat<axis: int = 0>(s, s) m = Expand(yes, t) y = Attention(q, k, v, m) }"""
    found = simplify(text, opset=23)
    assert found.ops == ["Attention"]
    assert len(found.after.graph[0].inputs) == 3
