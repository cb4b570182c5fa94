"""Conversions in whole numbers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from netwright.backends.cim.coding import adc, checks
from netwright.backends.cim.coding.model import Coding, Converter, Masking


def coding_of(
    mode: str, bits: int = 3, *, step: int = 1, low: int = 0, high: int = 0, rows: int = 16, parasitic: int = 0, **more: object
) -> Coding:
    converter = Converter(mode=mode, bits=bits, step=step, low=low, high=high)  # pyright: ignore[reportArgumentType]
    return Coding(rows=rows, converter=converter, masking=Masking(parasitic=parasitic), **more)  # pyright: ignore[reportArgumentType]


def estimate(p: int, n_en: int, coding: Coding) -> Fraction:
    return Fraction(adc.convert(p, n_en, coding).numerator, adc.denominator(coding))


def test_halves_go_to_the_even_neighbour():
    assert [adc.rhe(value, 2) for value in (-5, -3, -1, 1, 3, 5)] == [-2, -2, 0, 0, 2, 2]
    assert [adc.rhe(value, 3) for value in (-2, -1, 1, 2)] == [-1, 0, 0, 1]


def test_a_step_rounds_and_clamps():
    coding = coding_of("step", step=4)
    assert [estimate(p, 16, coding) for p in (0, 2, 3, 6, 10, 28, 31)] == [0, 0, 4, 8, 8, 28, 28]
    assert [adc.convert(p, 16, coding).saturated for p in (28, 29, 30, 31)] == [False, False, True, True]


def test_a_power_of_two_rounds_as_shifts_do():
    """rhe(p / 2^s) = (p + 2^(s−1) − 1 + ((p >> s) & 1)) >> s."""
    for s in range(1, 6):
        coding = coding_of("step", bits=12, step=1 << s)
        assert all(adc.convert(p, 1, coding).code == (p + (1 << s - 1) - 1 + ((p >> s) & 1)) >> s for p in range(500))


def test_clipping_is_a_step_of_one():
    assert [estimate(p, 16, coding_of("clip")) for p in (0, 3, 7, 8, 16)] == [0, 3, 7, 7, 7]


def test_a_range_keeps_fractions():
    coding = coding_of("range", bits=2, low=1, high=11)
    assert [estimate(p, 16, coding) for p in (0, 1, 2, 3, 6, 11, 12)] == [1, 1, 1, 1 + Fraction(10, 3), 1 + Fraction(20, 3), 11, 11]


def test_a_signed_range_has_a_code_for_zero():
    coding = coding_of("range", bits=4, low=-14, high=14, encoding="differential", subtract="before")
    assert [estimate(p, 16, coding) for p in (-15, -2, 0, 2, 15)] == [-14, -2, 0, 2, 14]


def test_charge_is_exact_where_rows_are_no_more_than_codes():
    """T2: N_en ≤ D ⇒ p̂ = p for every p; every resolution from 1 to 10 bits, every such N_en, every p."""
    cases = 0
    for bits in range(1, 11):
        last = (1 << bits) - 1
        n_en = np.repeat(np.arange(1, last + 1), np.arange(1, last + 1) + 1)
        p = np.concatenate([np.arange(rows + 1) for rows in range(1, last + 1)])
        quotient, rest = np.divmod(p * last, n_en)
        code = quotient + ((2 * rest > n_en) | ((2 * rest == n_en) & (quotient & 1 == 1)))
        assert np.array_equal((2 * code * n_en + last) // (2 * last), p)
        cases += p.size
    assert cases == 700_063
    for bits in (1, 2, 3, 5):
        coding = coding_of("charge", bits=bits, rows=64)
        assert all(estimate(p, n_en, coding) == p for n_en in range(1, 1 << bits) for p in range(n_en + 1))


def test_charge_keeps_fractions_where_rows_are_more_than_codes():
    coding = coding_of("charge", bits=2, rows=16)
    assert [estimate(p, 10, coding) for p in (0, 1, 2, 5, 10)] == [0, 0, Fraction(10, 3), Fraction(20, 3), 10]


def test_parasitic_capacitance_is_compensated():
    coding = coding_of("charge", bits=3, rows=16, parasitic=512)
    assert estimate(6, 12, coding) == Fraction(3 * 14, 7)
    assert all(estimate(p, 5, coding) == p for p in range(6)), "F' = 7 = D"


def test_errors_of_charge_grow_with_enabled_rows():
    """T3: rms error ∝ N_en, slope 1 in logarithms, where quantisation limits."""
    coding = coding_of("charge", bits=5, rows=2048)
    rows = [128, 256, 512, 1024, 2048]
    errors = [np.sqrt(np.mean([float(estimate(p, n_en, coding) - p) ** 2 for p in range(n_en + 1)])) for n_en in rows]
    slope = np.polyfit(np.log(rows), np.log(errors), 1)[0]
    assert abs(slope - 1) < 0.1


@pytest.mark.parametrize(
    ("rows", "digit", "cell", "bits"), [(128, 1, 1, 8), (255, 1, 1, 8), (256, 1, 1, 9), (128, 1, 2, 9), (64, 4, 4, 14)]
)
def test_lossless_bits(rows: int, digit: int, cell: int, bits: int):
    """⌈log2(R(2^m − 1)(2^c − 1) + 1)⌉."""
    assert checks.lossless_bits(coding_of("step", rows=rows, digit_bits=digit, cell_bits=cell)) == bits
    for have, lossless in ((bits, True), (bits - 1, False)):
        assert checks.lossless(coding_of("step", bits=have, rows=rows, digit_bits=digit, cell_bits=cell)) is lossless
