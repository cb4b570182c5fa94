"""The plain product: digits and cells put values together, lossless codings give integer products, checks say what is wrong."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings

from netwright.backends.cim.coding import checks, noise, slicing
from netwright.backends.cim.coding.model import Coding, Converter, Disturbance, Masking
from netwright.backends.cim.coding.reference import reference
from netwright.ir.errors import NetwrightError
from tests.backends.cim.engines.cases import Case, cases


@given(cases())
@settings(max_examples=60, deadline=None)
def test_digits_and_cells_put_values_together(case: Case):
    coding = case.coding
    digits, cells = slicing.digits_of(case.x, coding), slicing.cells_of(case.w, coding)
    assert digits.min(initial=0) >= 0
    assert len(digits) == len(slicing.input_places(coding))
    assert len(cells) == len(slicing.weight_places(coding))
    if coding.encoding == "xnor":
        return
    assert np.array_equal(np.tensordot(slicing.input_places(coding), digits.astype(np.int64), 1), case.x)
    half = 1 << (coding.weight_bits - 1) if coding.encoding == "offset" else 0
    assert np.array_equal(np.tensordot(slicing.weight_places(coding), cells.astype(np.int64), 1), case.w.astype(int) + half)


@given(cases(mode="exact", noise=False))
@settings(max_examples=60, deadline=None)
def test_exact_converters_give_the_product(case: Case):
    values, counts = reference(case.x, case.w, case.coding)
    assert np.array_equal(values, case.x.astype(int) @ case.w.astype(int))
    assert counts.inexact == counts.saturated == 0
    assert counts.macs == case.x.shape[0] * case.w.size


def test_counts_of_one_product_by_hand():
    """Two blocks of 2 rows, the second half full; inputs 3 and 0, 1; one plane of the second block is empty."""
    x, w = np.array([[3, 0, 1]], np.uint8), np.array([[1], [-2], [0]], np.int8)
    plane = Masking(granularity="plane", threshold=0.0)
    coding = Coding(rows=2, input_bits=2, weight_bits=2, converter=Converter(mode="charge", bits=2), masking=plane)
    values, counts = reference(x, w, coding)
    assert values.tolist() == [[3]]
    assert (counts.cycles, counts.conversions, counts.skipped) == (3, 6, 2)
    assert (counts.rows_on, counts.row_cycles, counts.enabled) == (3, 5, 6)
    assert (counts.masks, counts.mask_rows, counts.compensations) == (4, 6, 2)
    assert counts.counts == 5, "stored 3, 0, 2: both cells of the first row in two planes, one of the third in one"
    assert counts.charge == 0.0, "every conversion sees one enabled row: the column is full or empty"


@pytest.mark.parametrize(
    ("coding", "said"),
    [
        (Coding(rows=0), "a block of 0 rows. (at Coding.rows)"),
        (Coding(weight_bits=1), "signed weights of 1 bit"),
        (Coding(input_signed=True, digit_bits=2), "signed inputs of 8 bits in digits of 2"),
        (Coding(converter=Converter(mode="range")), "a range from 0 to 0"),
        (Coding(converter=Converter(bits=1), encoding="differential", subtract="before"), "a converter of 1 bits"),
        (Coding(masking=Masking(threshold=1.5)), "a threshold of 1.5"),
    ],
)
def test_what_is_no_coding_is_refused(coding: Coding, said: str):
    with pytest.raises(NetwrightError, match=re.escape(said)):
        checks.check(coding)


@pytest.mark.parametrize(
    ("x", "w", "coding", "said"),
    [
        (
            np.array([[16]], np.uint8),
            np.array([[1]], np.int8),
            Coding(input_bits=4),
            "Values from 16 to 16 are not unsigned inputs of 4 bits: 0 … 15",
        ),
        (np.array([[-1]], np.int8), np.array([[1]], np.int8), Coding(), "are not unsigned inputs"),
        (np.array([[1]], np.uint8), np.array([[-128]], np.int8), Coding(encoding="differential"), "-127 … 127"),
        (np.array([[0]], np.int8), np.array([[1]], np.int8), Coding(encoding="xnor"), "neither 1 nor −1"),
        (np.array([[1, 2]], np.uint8), np.array([[1]], np.int8), Coding(), "Inputs are uint8 [1, 2]"),
        (np.zeros((1, 0), np.uint8), np.zeros((0, 2), np.int8), Coding(), "Weights are int8 [0, 2]"),
        (np.array([[1.0]]), np.array([[1]], np.int8), Coding(), "Inputs are float64"),
    ],
)
def test_what_does_not_fit_is_refused(x: np.ndarray, w: np.ndarray, coding: Coding, said: str):
    with pytest.raises(NetwrightError, match=re.escape(said)):
        reference(x, w, coding)


def test_results_widen_where_they_must():
    assert checks.result_type(33_025, Coding(converter=Converter(mode="exact"))) == np.int32
    assert checks.result_type(70_000, Coding(converter=Converter(mode="exact"))) == np.int64


def test_noise_is_normal_and_depends_on_its_place_alone():
    assert noise.mixed(np.array([12345], np.uint64))[0] == noise.mix(12345)
    keys = noise.keys_with(np.full(1, np.uint64(noise.key_of(3, 1))), np.arange(200_000))
    assert int(keys[17]) == noise.key_of(3, 1, 17)
    draws = noise.draws(keys, 2.0) / noise.NOISE_STEPS
    assert abs(draws.mean()) < 0.02
    assert abs(draws.std() - 2.0) < 0.02
    assert abs(np.mean(np.abs(draws) < 2.0) - 0.6827) < 0.01
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.01


def test_noise_of_conversions_adds_up():
    """Σ over conversions of places² · σ²: the variance of a result, with an exact converter."""
    x, w = np.full((1500, 8), 1, np.uint8), np.zeros((8, 1), np.int8)
    coding = Coding(rows=8, input_bits=1, weight_bits=3, converter=Converter(mode="exact"), noise=Disturbance(conversion=4.0, seed=5))
    values, _ = reference(x, w, coding)
    assert abs(values.std() / (4.0 * np.sqrt(1 + 4 + 16)) - 1) < 0.06
