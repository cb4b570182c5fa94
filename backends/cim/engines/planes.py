"""Every conversion, by float products of digit planes with cells: works everywhere, and is what other engines fall back to."""

from __future__ import annotations

import numpy as np

from netwright.backends.cim.coding import adc, noise, slicing
from netwright.backends.cim.coding.model import Coding, Disturbance
from netwright.backends.cim.engines.conversions import Conversions
from netwright.backends.cim.engines.inputs import Applied
from netwright.backends.cim.engines.measured import Measured

VECTORS = 64
"""Vectors taken together: sums of a block then stay in the cache."""


class Planes:
    """One block's weights [holding, J].

    Args:
        w: integers.
        coding: how.
        conversions: of its sums.
        block: its number within the matrix.
        first_column: number of the first output within the matrix.
    """

    def __init__(self, w: np.ndarray, coding: Coding, conversions: Conversions, block: int, first_column: int) -> None:
        self._coding, self._conversions = coding, conversions
        self._block, self._first_column = block, first_column
        self._cells = slicing.cells_of(w, coding)
        self._outputs = w.shape[1]

    def add(self, total: np.ndarray, applied: Applied, numbers: np.ndarray, measured: Measured | None) -> None:
        """Add the numerators of vectors to `total` int64 [N, J], and what conversions did to `measured`."""
        for start in range(0, total.shape[0], VECTORS):
            rows = slice(start, start + VECTORS)
            for digit, place in enumerate(slicing.input_places(self._coding)):
                n_en = applied.n_en[digit, rows]
                if n_en.any():
                    total[rows] += place * self._digit(applied.digits[digit, rows], n_en, numbers[rows], digit, measured)

    def _digit(self, digits: np.ndarray, n_en: np.ndarray, numbers: np.ndarray, digit: int, measured: Measured | None) -> np.ndarray:
        """Σ over cells of place · p̂, int64 [n, J]."""
        coding = self._coding
        total = np.zeros((digits.shape[0], self._outputs), np.int64)
        for cell, place in enumerate(slicing.weight_places(coding)):
            cells = self._cells[cell]
            sums = _sums(digits, cells, coding)
            noisy = coding.noise if noise.disturbs(coding) else None
            disturbed = sums if noisy is None else self._disturbed(sums, digits, numbers, (digit, cell), noisy)
            numerators, saturated = self._conversions.convert(disturbed, n_en)
            total += place * numerators
            if measured is not None:
                lines = (
                    [sums]
                    if not adc.signed(coding)
                    else [_sums(digits, np.maximum(cells, 0), coding), _sums(digits, np.maximum(-cells, 0), coding)]
                )
                measured.conversions += int(np.count_nonzero(n_en)) * self._outputs
                measured.counts += sum(int(line.sum()) for line in lines)
                full = np.maximum(n_en, 1)[:, None] * adc.unit_sum(coding)
                measured.charge += sum(float((line * (1 - line / full)).sum()) for line in lines)
                measured.saturated += int((saturated & (n_en > 0)[:, None]).sum())
                measured.inexact += int((numerators != sums * adc.denominator(coding)).sum())
        return total

    def _disturbed(self, sums: np.ndarray, digits: np.ndarray, numbers: np.ndarray, at: tuple[int, int], noisy: Disturbance) -> np.ndarray:
        """Sums in 256ths, with noise."""
        digit, cell = at
        columns = np.arange(self._first_column, self._first_column + self._outputs, dtype=np.int64)
        disturbed = sums * noise.NOISE_STEPS
        if noisy.cell:
            rows = np.arange(digits.shape[1], dtype=np.int64)
            key = np.uint64(noise.key_of(noisy.seed, noisy.stream, 1, self._block))
            keys = noise.keys_with(noise.keys_with(np.full(1, key), rows)[:, None], np.array([cell]))
            draws = noise.draws(noise.keys_with(keys, columns[None]), noisy.cell)
            disturbed = disturbed + _disturbances(digits, self._cells[cell], draws, self._coding)
        if noisy.conversion:
            keys = noise.keys_with(np.full(1, np.uint64(noise.key_of(noisy.seed, noisy.stream, 0))), numbers)
            for number in (self._block, digit, cell):
                keys = noise.keys_with(keys, np.array([number]))
            disturbed = disturbed + noise.draws(noise.keys_with(keys[:, None], columns[None]), noisy.conversion)
        return disturbed


def _sums(digits: np.ndarray, cells: np.ndarray, coding: Coding) -> np.ndarray:
    """Columns' sums int64 [n, J]: exact, since below 2^24 in float32, or in float64."""
    if coding.encoding == "xnor":
        signs = (2 * digits.astype(np.float32) - 1) @ (2 * cells.astype(np.float32) - 1)
        return (signs.astype(np.int64) + digits.shape[1]) // 2
    dtype = np.float32 if digits.shape[1] * adc.unit_sum(coding) <= 1 << 24 else np.float64
    return (digits.astype(dtype) @ cells.astype(dtype)).astype(np.int64)


def _disturbances(digits: np.ndarray, cells: np.ndarray, draws: np.ndarray, coding: Coding) -> np.ndarray:
    """What the cells' deviations add, int64 [n, J], in 256ths."""
    if coding.encoding == "xnor":
        ones = digits.astype(np.float64)
        return (ones @ (cells * draws) + (1 - ones) @ ((1 - cells) * draws)).astype(np.int64)
    return (digits.astype(np.float64) @ (cells * draws.astype(np.float64))).astype(np.int64)
