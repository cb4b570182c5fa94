"""The NaN guard of torch's attention goes exactly where no infinity can enter the softmax."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.ir import Program
from tests.passes.simplify.support import Simplified, simplified
from tests.passes.simplify.weights import program

LARGEST = -3.4028234663852886e38


def guarded(mask: str, inputs: str = "bool[N, 1, S, S] m", weights: dict[str, np.ndarray] | None = None, dtype: str = "float") -> Program:
    zero = "zero = Constant<value_float: float = 0.0>() least = Constant<value_float: float = -3.4028234663852886e38>()"
    if dtype == "float16":
        zero += " zeroh = Cast<to: int = 10>(zero) minus = Constant<value_float: float = -65504.0>() leasth = Cast<to: int = 10>(minus)"
    name = "zeroh" if dtype == "float16" else "zero"
    comma = ", " if inputs else ""
    return program(
        f"""g ({dtype}[N, 2, S, 4] q, {dtype}[N, 2, 4, S] k{comma}{inputs}) => ({dtype}[N, 2, S, S] y) {{
        {zero} s = MatMul(q, k) {mask} p = Softmax<axis: int = -1>(masked) n = IsNaN(p) y = Where(n, {name}, p) }}""",
        weights,
    )


def check(found: Simplified, *, removed: bool) -> None:
    assert ("IsNaN" not in found.ops) is removed
    assert bool(found.misses("drop_softmax_guard")) is not removed


REMOVED = {
    "no mask": "masked = Identity(s)",
    "the least number, chosen": "a = Where(m, zero, least) masked = Add(s, a)",
    "the least number times not the mask": "f = Cast<to: int = 1>(m) a = Mul(f, least) masked = Add(a, s)",
    "a moderate number": "few = Constant<value_float: float = -10000.0>() a = Where(m, zero, few) masked = Add(s, a)",
    "the least number instead of the score": "masked = Where(m, s, least)",
    "a bounded input": "f = Cast<to: int = 1>(m) t = Tanh(f) masked = Add(t, s)",
}
KEPT = {
    "minus infinity, chosen": "inf = Div(least, zero) a = Where(m, zero, inf) masked = Add(s, a)",
    "minus infinity instead of the score": "inf = Div(least, zero) masked = Where(m, s, inf)",
    "two masks of the least number": "a = Where(m, zero, least) b = Add(a, a) masked = Add(s, b)",
    "a logarithm": "f = Cast<to: int = 1>(m) a = Log(f) masked = Add(s, a)",
    "a quotient": "f = Cast<to: int = 1>(m) a = Div(least, f) masked = Add(s, a)",
}


@pytest.mark.parametrize("mask", REMOVED.values(), ids=REMOVED.keys())
def test_a_guard_that_can_do_nothing_goes(mask: str):
    found = simplified(guarded(mask), values=" m" in mask or "no mask" in mask)
    check(found, removed=True)


@pytest.mark.parametrize("mask", KEPT.values(), ids=KEPT.keys())
def test_a_guard_that_is_needed_stays_as_a_miss(mask: str):
    found = simplified(guarded(mask))
    check(found, removed=False)
    assert "an infinity can enter the softmax through %" in found.misses("drop_softmax_guard")[0].reason


def test_rows_masked_throughout_give_the_same_with_and_without_a_finite_mask():
    given = guarded(REMOVED["the least number, chosen"])
    rng = np.random.default_rng(0)
    feeds = {
        "q": rng.normal(size=(1, 2, 3, 4)).astype(np.float32),
        "k": rng.normal(size=(1, 2, 4, 3)).astype(np.float32),
        "m": np.zeros((1, 1, 3, 3), bool),
    }
    check(simplified(given, feeds=[feeds]), removed=True)


def test_a_mask_given_as_an_input_is_finite_like_all_inputs():
    check(simplified(guarded("masked = Add(s, m)", "float[N, 1, S, S] m")), removed=True)


def test_half_precision_has_no_room_below_its_least_number():
    mask = "a = Where(m, zeroh, leasth) masked = Add(s, a)"
    check(simplified(guarded(mask, dtype="float16"), values=False), removed=False)


@pytest.mark.parametrize(("rows", "removed"), [([[0, -np.inf], [0, 0]], True), ([[0, 0], [-np.inf, -np.inf]], False)])
def test_a_constant_mask_that_leaves_room_in_each_row_is_harmless(rows: list[list[float]], removed: bool):
    text = """g (float[N, 2, 2, 4] q, float[N, 2, 4, 2] k) => (float[N, 2, 2, 2] y) { zero = Constant<value_float: float = 0.0>()
        s = MatMul(q, k) masked = Add(s, mask) p = Softmax<axis: int = -1>(masked) n = IsNaN(p) y = Where(n, zero, p) }"""
    check(simplified(program(text, {"mask": np.array(rows, np.float32)})), removed=removed)


def test_another_choice_than_nought_is_no_guard():
    text = """g (float[N, 4] x) => (float[N, 4] y) { one = Constant<value_float: float = 1.0>()
        p = Softmax<axis: int = -1>(x) n = IsNaN(p) y = Where(n, one, p) }"""
    assert "IsNaN" in simplified(program(text)).ops
