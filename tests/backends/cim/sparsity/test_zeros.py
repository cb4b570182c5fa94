"""Zeros as masks see them, against counting one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.backends.cim.arch.model import Granularity
from netwright.backends.cim.coding.masks import enabled_rows
from netwright.backends.cim.coding.model import Coding, Masking
from netwright.backends.cim.coding.slicing import digits_of
from netwright.backends.cim.sparsity.zeros import MASKS, zeros


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(MASKS),
    st.integers(1, 5),
    st.integers(1, 7),
    st.integers(1, 12),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.integers(0, 2**31),
)
def test_shares_are_those_of_the_specification(
    granularity: Granularity, group: int, block: int, rows: int, threshold: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.integers(0, 16, (3, rows)) * (rng.random((3, rows)) < 0.5)).astype(np.uint8)
    coding = Coding(rows=block, input_bits=4, masking=Masking(granularity=granularity, group=group))
    shares: list[float] = []
    kept: list[float] = []
    for vector in x:
        for first in range(0, rows, block):
            digits = digits_of(vector[first : first + block], coding)
            masks = enabled_rows(digits, coding)
            for mask in masks if granularity.startswith("plane") else masks[:1]:
                share = 1 - mask.sum() / len(mask)
                shares.append(share)
                kept.append(1 - share if share > threshold else 1.0)
    found = zeros(x, coding, granularity, group, threshold)
    assert found.sparsity == pytest.approx(np.mean(shares))
    assert found.enabled == pytest.approx(np.mean(kept))
    assert found.exceeding == pytest.approx(np.mean(np.array(shares) > threshold))


def test_negative_numbers_have_dense_planes() -> None:
    """T7: −1 is eight ones in two's complement."""
    x = np.full((4, 16), -1, np.int8)
    signed = zeros(x, Coding(rows=16, input_signed=True), "plane", 1, 0.5)
    shifted = zeros((x + 1).astype(np.uint8), Coding(rows=16), "plane", 1, 0.5)
    assert (signed.sparsity, shifted.sparsity) == (0.0, 1.0)
