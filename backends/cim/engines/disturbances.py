"""Noise made ready for the kernels: cells' deviations are a product with fixed numbers, conversions' are drawn as they come."""

from __future__ import annotations

import numpy as np

from netwright.backends.cim.coding import adc, noise, slicing
from netwright.backends.cim.coding.model import Coding, Disturbance


def largest(coding: Coding) -> int:
    """The largest disturbance of a sum, in 256ths; 0 without noise."""
    noisy = coding.noise
    if noisy is None or not noise.disturbs(coding):
        return 0
    return coding.rows * adc.unit_sum(coding) * int(noise.table(noisy.cell)[-1]) + int(noise.table(noisy.conversion)[-1])


class Disturbances:
    """One block's noise.

    Args:
        w: its weights [holding, J].
        coding: how; its noise is not None.
        noisy: the noise.
        block: its number within the matrix.
        first_column: number of the first output within the matrix.
        lanes: that cells and columns are padded to.
    """

    def __init__(self, w: np.ndarray, coding: Coding, noisy: Disturbance, block: int, first_column: int, lanes: int) -> None:
        self.block, self._noisy, self._coding = block, noisy, coding
        columns = np.arange(first_column, first_column + w.shape[1], dtype=np.int64)
        self.steps = np.uint64(noise.GOLDEN) * (columns.astype(np.uint64) + np.uint64(1))
        """What a column adds to a key."""
        self.table = noise.table(noisy.conversion) if noisy.conversion else np.empty(0, np.int32)
        """Draws of conversions."""
        self._cells, self._constant = None, np.zeros(lanes, np.int64)
        if noisy.cell:
            self._cells, self._constant = self._fixed(w, columns, lanes)

    def keys(self, numbers: np.ndarray) -> np.ndarray:
        """Keys uint64 [N] of vectors."""
        start = np.full(1, np.uint64(noise.key_of(self._noisy.seed, self._noisy.stream, 0)))
        return noise.keys_with(start, numbers)

    def extra(self, x: np.ndarray) -> np.ndarray:
        """What cells' deviations add to the sums of inputs [n, holding]: int32 [digits, n, lanes]; empty where they have none."""
        if self._cells is None:
            return np.empty((0, 0, 0), np.int32)
        digits = slicing.digits_of(x, self._coding)
        sums = digits.reshape(-1, x.shape[1]).astype(self._cells.dtype) @ self._cells
        return (sums + self._constant.astype(self._cells.dtype)).astype(np.int32).reshape(len(digits), len(x), -1)

    def _fixed(self, w: np.ndarray, columns: np.ndarray, lanes: int) -> tuple[np.ndarray, np.ndarray]:
        """What a digit of 1 adds [holding, lanes], in floats that all sums are exact in, and what is added whatever the digits."""
        cells = slicing.cells_of(w, self._coding).astype(np.int64)
        key = np.uint64(noise.key_of(self._noisy.seed, self._noisy.stream, 1, self.block))
        keys = noise.keys_with(np.full(1, key), np.arange(w.shape[0], dtype=np.int64))
        keys = noise.keys_with(keys[None, :], np.arange(len(cells), dtype=np.int64)[:, None])
        draws = noise.draws(noise.keys_with(keys[:, :, None], columns), self._noisy.cell).astype(np.int64)
        shares, constant = cells * draws, np.zeros(cells.shape[::2], np.int64)
        if self._coding.encoding == "xnor":
            shares, constant = (2 * cells - 1) * draws, ((1 - cells) * draws).sum(axis=1)
        spare = lanes - constant.size
        flat = np.pad(shares.transpose(1, 0, 2).reshape(w.shape[0], -1), ((0, 0), (0, spare)))
        bound = int(np.abs(flat).sum(axis=0).max()) * adc.unit_sum(self._coding) + int(np.abs(constant).max())
        return flat.astype(np.float32 if bound <= 1 << 24 else np.float64), np.pad(constant.reshape(-1), (0, spare))
