"""Results of fractions, and tables that matrices share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netwright.backends.cim.coding import adc
from netwright.backends.cim.coding.model import Coding, Converter, Disturbance
from netwright.backends.cim.engines import divide, prepare
from netwright.backends.cim.engines.conversions import KEPT, conversions_of
from netwright.backends.cim.engines.rules import rules_of

NOISY = Coding(rows=32, converter=Converter(mode="charge", bits=4), noise=Disturbance(conversion=1.5, cell=0.1, seed=4))


@given(quotient=st.integers(-(1 << 40), 1 << 40), denominator=st.integers(1, 1 << 20), near=st.integers(-2, 2))
@example(quotient=(1 << 30) - 1, denominator=(1 << 20) - 1, near=0)
@example(quotient=(1 << 31) - 1, denominator=1 << 20, near=1)
@settings(deadline=None)
def test_fractions_go_to_the_nearest_half_way_ones_to_even(quotient: int, denominator: int, near: int) -> None:
    """Beside and on halves, below 2^51 and above."""
    numerator = quotient * denominator + denominator // 2 + near
    for one in (numerator, -numerator):
        assert divide(np.array([[one, 0]], np.int64), denominator).tolist() == [[adc.rhe(one, denominator), 0]]


def test_nothing_over_something_is_nothing() -> None:
    assert divide(np.empty((0, 3), np.int64), 15, np.dtype(np.int32)).shape == (0, 3)


def test_matrices_of_one_coding_share_tables_and_no_noise() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.integers(0, 256, (20, 50)).astype(np.uint8), rng.integers(-127, 128, (50, 8)).astype(np.int8)
    first = prepare(w, NOISY).multiply(x)
    made, kept = conversions_of.cache_info(), rules_of.cache_info()
    assert NOISY.noise is not None
    for stream in range(1, 2 * KEPT):
        found = prepare(w, replace(NOISY, noise=replace(NOISY.noise, stream=stream))).multiply(x)
        assert not np.array_equal(found.values, first.values)
    np.testing.assert_array_equal(prepare(w, NOISY).multiply(x).values, first.values)
    assert (conversions_of.cache_info().misses, rules_of.cache_info().misses) == (made.misses, kept.misses)
    assert max(conversions_of.cache_info().currsize, rules_of.cache_info().currsize) <= KEPT
