"""Masks: what they may disable, and when they are used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netwright.backends.cim.coding import masks, slicing
from netwright.backends.cim.coding.model import Coding, Converter, Masking
from netwright.backends.cim.coding.reference import reference
from netwright.ir.errors import RunError

CHARGE = Converter(mode="charge", bits=4)
RNG = np.random.default_rng(7)
X = np.where(RNG.random((6, 40)) < 0.6, 0, RNG.integers(0, 256, (6, 40))).astype(np.uint8)
W = RNG.integers(-128, 128, (40, 3)).astype(np.int8)


def masking(granularity: str, threshold: float = 0.0, group: int = 4) -> Masking:
    return Masking(granularity=granularity, threshold=threshold, group=group)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("granularity", ["row", "row_group", "plane", "plane_group"])
def test_a_mask_changes_no_sum(granularity: str):
    """T1: p is the same under any legal mask; here through a converter that loses nothing, so that values are the sums."""
    coding = Coding(rows=16, masking=masking(granularity))
    values, counts = reference(X, W, coding)
    plain, unmasked = reference(X, W, replace(coding, masking=Masking(granularity="pad")))
    assert np.array_equal(values, X.astype(int) @ W)
    assert np.array_equal(values, plain)
    assert counts.counts == unmasked.counts
    assert counts.enabled < unmasked.enabled


def test_finer_masks_enable_fewer_rows():
    enabled = [
        reference(X, W, Coding(rows=16, converter=CHARGE, masking=masking(one)))[1].enabled
        for one in ("none", "pad", "row_group", "row", "plane")
    ]
    assert enabled == sorted(enabled, reverse=True)
    assert len(set(enabled)) == len(enabled)


def test_a_mask_that_hides_a_row_is_refused():
    """T4."""
    digits = np.array([0, 1, 0, 2])
    masks.check_mask(np.array([False, True, True, True]), digits)
    with pytest.raises(RunError, match="disables 1 rows whose input is not 0, the first at 3"):
        masks.check_mask(np.array([False, True, True, False]), digits)


@pytest.mark.parametrize("granularity", ["row", "row_group", "plane", "plane_group"])
def test_a_threshold_of_one_is_the_baseline(granularity: str):
    """T5: at θ = 1 values are those without masks, bit for bit; below, masks come into use one after the other."""
    coding = Coding(rows=16, converter=CHARGE)
    baseline, _ = reference(X, W, replace(coding, masking=masking("pad")))
    swept = [reference(X, W, replace(coding, masking=masking(granularity, threshold))) for threshold in (0.0, 0.3, 0.6, 0.9, 1.0)]
    assert np.array_equal(swept[-1][0], baseline)
    used = [counts.compensations for _, counts in swept]
    assert used == sorted(used, reverse=True)
    assert used[0] > used[-1] == 0


def test_a_threshold_must_be_exceeded():
    assert [masks.most_kept(masking("row", threshold), 16) for threshold in (0.0, 0.5, 0.51, 1.0)] == [15, 7, 7, -1]


def test_groups_are_counted_from_the_first_row():
    digits = np.array([[0, 0, 0, 1, 0, 0, 0]])
    assert masks.enabled_rows(digits, Coding(masking=masking("row_group", group=3))).tolist() == [[False] * 3 + [True] * 3 + [False]]


def test_one_mask_by_value_for_all_planes():
    digits = np.array([[0, 1, 0], [0, 0, 1]])
    assert masks.enabled_rows(digits, Coding(masking=masking("row"))).tolist() == [[False, True, True]] * 2
    assert masks.enabled_rows(digits, Coding(masking=masking("plane"))).tolist() == [[False, True, False], [False, False, True]]


def test_planes_of_small_negative_inputs_are_dense():
    """T7: two's complement negatives near 0 are ones in the high planes; magnitudes, and what a ReLU leaves, are not."""
    small = RNG.normal(0, 6, 4000).round().astype(np.int8)
    signed = slicing.digits_of(small, Coding(input_signed=True)).mean(axis=1)
    rectified = slicing.digits_of(np.maximum(small, 0).astype(np.uint8), Coding()).mean(axis=1)
    assert signed[5:].min() > 0.4
    assert rectified[5:].max() < 0.01
    magnitudes = slicing.digits_of(np.abs(small).astype(np.uint8), Coding()).mean(axis=1)
    assert magnitudes[5:].max() < 0.01


def test_fewer_bits_keep_values_and_convert_less():
    coding = Coding(rows=16, converter=CHARGE, masking=masking("plane"))
    plain, full = reference(X, W, replace(coding, masking=Masking(granularity="pad")))
    cheaper, counts = reference(X, W, replace(coding, masking=replace(coding.masking, fewer_bits=True)))
    assert np.array_equal(plain, cheaper)
    assert counts.conversion_bits < 0.6 * full.conversion_bits
    assert counts.compensations == 0
