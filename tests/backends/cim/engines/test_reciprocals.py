"""Division by multiplication against division, for every sum there can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netwright.backends.cim.engines.conversions import rhe
from netwright.backends.cim.engines.reciprocals import Reciprocal, reciprocal


def check(found: Reciprocal, over: int, under: int, most: int, width: int) -> None:
    sums = np.arange(most + 1, dtype=np.uint64) << np.uint64(found.before)
    assert int(sums[-1]) + max(found.even, found.odd) < 1 << width
    assert found.multiplier < 1 << width
    places = np.uint64(width + found.after)
    quotients = (sums * np.uint64(found.multiplier)) >> places
    biases = np.where(quotients & np.uint64(1), np.uint64(found.odd), np.uint64(found.even))
    codes = ((sums + biases) * np.uint64(found.multiplier)) >> places
    assert np.array_equal(codes.astype(np.int64), rhe(np.arange(most + 1, dtype=np.int64) * over, np.array(under)))


@given(over=st.integers(1, 300), under=st.integers(1, 3000), most=st.integers(1, 3000), width=st.sampled_from([16, 32]))
def test_what_is_proven_holds(over: int, under: int, most: int, width: int):
    found = reciprocal(over, under, most, width)
    if found is not None:
        check(found, over, under, most, width)


@pytest.mark.parametrize("most", [64, 128, 256])
def test_steps_and_charge_of_usual_arrays_have_one(most: int):
    """Any step in narrow lanes, and converters of up to 6 bits on any number of rows."""
    quotients = [(1, step) for step in range(2, 64)] + [(63, rows) for rows in range(64, most + 1)]
    for over, under in quotients:
        found = reciprocal(over, under, most, 16)
        assert found is not None, (over, under)
        check(found, over, under, most, 16)


@pytest.mark.parametrize("rows", [255, 256, 1152, 2304])
def test_wide_lanes_hold_every_charge(rows: int):
    for bits in (6, 8, 10):
        found = reciprocal((1 << bits) - 1, rows, rows, 32)
        assert found is not None
        check(found, (1 << bits) - 1, rows, rows, 32)
