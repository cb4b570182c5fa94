"""The product on crossbars, one conversion after the other: slow, and the definition that engines are tested against."""

from __future__ import annotations

import numpy as np

from netwright.backends.cim.coding import adc, checks, masks, noise, slicing
from netwright.backends.cim.coding.model import Coding, Disturbance
from netwright.backends.cim.engines.base import MvmCounts


def reference(
    x: np.ndarray, w: np.ndarray, coding: Coding, *, first_block: int = 0, first_column: int = 0, numbers: np.ndarray | None = None
) -> tuple[np.ndarray, MvmCounts]:
    """The product [N, J] of integers x [N, K] and w [K, J], and what the arrays did.

    Args:
        x: inputs.
        w: weights.
        coding: how.
        first_block: number of the first block of rows within its matrix.
        first_column: number of the first output within its matrix.
        numbers: each vector's number within the run; 0 … N−1 where left out.

    Raises:
        UnsupportedModelError: the coding is none.
        RunError: an input or a weight does not fit its bits.
    """
    checks.check(coding)
    checks.check_weights(w, coding)
    checks.check_inputs(x, w.shape[0], coding)
    vectors = np.arange(x.shape[0], dtype=np.int64) if numbers is None else numbers
    counts = MvmCounts(vectors=x.shape[0], macs=x.shape[0] * w.size)
    numerators = np.zeros((x.shape[0], w.shape[1]), np.int64)
    whole = np.zeros((x.shape[0], w.shape[1]), np.int64)
    for block, start in enumerate(range(0, w.shape[0], coding.rows)):
        part = w[start : start + coding.rows]
        for row in range(x.shape[0]):
            piece = x[row, start : start + coding.rows]
            place = _Place(int(vectors[row]), first_block + block, first_column)
            numerators[row] += _block(piece, part, coding, place, counts)
            whole[row] += _corrections(piece, part, coding)
    over = adc.denominator(coding)
    numerators = numerators * (2 if coding.encoding == "xnor" else 1) + whole * over
    values = np.array([[adc.rhe(int(one), over) for one in row] for row in numerators], np.int64).reshape(numerators.shape)
    return values.astype(checks.result_type(w.shape[0], coding)), counts


class _Place:
    """Where noise falls."""

    def __init__(self, vector: int, block: int, first_column: int) -> None:
        self.vector, self.block, self.first_column = vector, block, first_column

    def of_conversion(self, noisy: Disturbance, digit: int, cell: int, column: int) -> int:
        key = noise.key_of(noisy.seed, noisy.stream, 0, self.vector, self.block, digit, cell, self.first_column + column)
        return int(noise.table(noisy.conversion)[key >> (64 - noise.TABLE_BITS)])

    def of_cell(self, noisy: Disturbance, row: int, cell: int, column: int) -> int:
        key = noise.key_of(noisy.seed, noisy.stream, 1, self.block, row, cell, self.first_column + column)
        return int(noise.table(noisy.cell)[key >> (64 - noise.TABLE_BITS)])


def _corrections(x: np.ndarray, w: np.ndarray, coding: Coding) -> int:
    """What is added digitally, exactly: the offset's share, and of signs the enabled rows."""
    if coding.encoding == "offset":
        return -(1 << (coding.weight_bits - 1)) * int(x.sum(dtype=np.int64))
    return -w.shape[0] if coding.encoding == "xnor" else 0


def _block(x: np.ndarray, w: np.ndarray, coding: Coding, place: _Place, counts: MvmCounts) -> np.ndarray:
    """Numerators int64 [J] of one vector on one block."""
    digits, cells = slicing.digits_of(x, coding), slicing.cells_of(w, coding)
    holding, outputs = w.shape
    kept: np.ndarray = masks.enabled_rows(digits, coding) if masks.masked(coding) else np.ones(digits.shape, np.bool_)
    by_value = masks.masked(coding) and coding.masking.granularity in masks.BY_VALUE
    used = masks.masked(coding) & (kept.sum(axis=1) <= masks.most_kept(coding.masking, holding))
    if masks.masked(coding):
        formed = 1 if by_value else len(digits)
        counts.masks += formed
        counts.mask_rows += formed * holding
    total = np.zeros(outputs, np.int64)
    for digit, digit_place in enumerate(slicing.input_places(coding)):
        mask = np.logical_or(kept[digit], not used[digit])
        if coding.encoding != "xnor":
            masks.check_mask(mask, digits[digit])
        n_en = int(mask.sum()) if used[digit] else masks.unmasked_rows(coding, holding)
        if n_en == 0:
            counts.skipped += len(cells) * outputs
            continue
        counts.cycles += 1
        counts.row_cycles += holding
        counts.rows_on += holding if coding.encoding == "xnor" else int(np.count_nonzero(digits[digit]))
        counts.conversions += len(cells) * outputs
        counts.conversion_bits += len(cells) * outputs * adc.resolved_bits(coding, n_en, holding)
        counts.enabled += len(cells) * outputs * n_en
        if used[digit] and coding.converter.mode == "charge" and not coding.masking.fewer_bits and (digit == 0 or not by_value):
            counts.compensations += outputs
        for cell, cell_place in enumerate(slicing.weight_places(coding)):
            for column in range(outputs):
                at = (digit, cell, column)
                numerator = _conversion(digits[digit], cells[cell, :, column], w[:, column], n_en, coding, place, at, counts)
                total[column] += digit_place * cell_place * numerator
    return total


def _conversion(
    digit: np.ndarray,
    cell: np.ndarray,
    w: np.ndarray,
    n_en: int,
    coding: Coding,
    place: _Place,
    at: tuple[int, int, int],
    counts: MvmCounts,
) -> int:
    """The numerator of one conversion."""
    shares = _contributions(digit, cell, coding)
    lines = [int(shares.sum())] if not adc.signed(coding) else [int(shares[w > 0].sum()), -int(shares[w < 0].sum())]
    p = int(shares.sum())
    full = n_en * adc.unit_sum(coding)
    counts.counts += sum(lines)
    counts.charge += sum(line * (1 - line / full) for line in lines)
    noisy = coding.noise
    if noisy is None:
        converted = adc.convert(p, n_en, coding, holding=len(w))
    else:
        disturbed = p * noise.NOISE_STEPS
        if noisy.cell:
            disturbed += sum(int(shares[row]) * place.of_cell(noisy, int(row), at[1], at[2]) for row in range(len(digit)) if shares[row])
        if noisy.conversion:
            disturbed += place.of_conversion(noisy, *at)
        converted = adc.convert(disturbed, n_en, coding, noise.NOISE_STEPS, len(w))
    counts.saturated += converted.saturated
    counts.inexact += converted.numerator != p * adc.denominator(coding)
    return converted.numerator


def _contributions(digit: np.ndarray, cell: np.ndarray, coding: Coding) -> np.ndarray:
    """What each row adds to the sum, int64."""
    if coding.encoding == "xnor":
        return ((digit > 0) == (cell > 0)).astype(np.int64)
    return digit.astype(np.int64) * cell
