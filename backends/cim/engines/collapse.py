"""Where nothing is lost in conversion: the plain product, in float32 products of as many rows as are provably exact.

A float32 product of integers is exact, in whatever order it is summed, while max|x| · Σ|w| stays at or below 2^24 in each column: rows are
cut into chunks by their own weights, and chunks are added as integers. Wide operands (16 bits) take float64, with 2^53 likewise.
"""

from __future__ import annotations

import numpy as np

EXACT: dict[np.dtype[np.floating], int] = {np.dtype(np.float32): 1 << 24, np.dtype(np.float64): 1 << 53}
"""Largest integer up to which all are exact."""

LEAST_ROWS = 16
"""Rows that a chunk holds at least, or wider floats are taken."""


class Collapsed:
    """Weights [K, J] as float32 chunks of rows.

    Args:
        w: integers.
        low: smallest input.
        high: largest input.
    """

    def __init__(self, w: np.ndarray, low: int, high: int) -> None:
        self.centre = (low + high + 1) // 2
        """Subtracted from inputs: halves their magnitude, and is put back by the weights' sums."""
        self.reach = max(high - self.centre, self.centre - low)
        self.sums = w.sum(axis=0, dtype=np.int64) * self.centre
        largest = max(int(w.max(initial=0)), -int(w.min(initial=0))) * self.reach
        self.dtype: np.dtype[np.floating] = np.dtype(np.float32 if largest * LEAST_ROWS <= EXACT[np.dtype(np.float32)] else np.float64)
        self.chunks = [(start, stop, w[start:stop].astype(self.dtype)) for start, stop in _cuts(w, self.reach, EXACT[self.dtype])]

    def multiply(self, x: np.ndarray, dtype: np.dtype[np.int32] | np.dtype[np.int64]) -> np.ndarray:
        """The product [N, J] of integers [N, K]."""
        centred = x.astype(self.dtype)
        if self.centre:
            centred -= self.dtype.type(self.centre)
        total = np.empty((x.shape[0], self.sums.size), dtype)
        total[:] = self.sums
        for start, stop, chunk in self.chunks:
            total += (centred[:, start:stop] @ chunk).astype(dtype)
        return total


def _cuts(w: np.ndarray, reach: int, most: int) -> list[tuple[int, int]]:
    """Row ranges whose products of inputs up to `reach` are exact."""
    magnitudes = np.abs(w.astype(np.int64)) * reach
    cuts: list[tuple[int, int]] = []
    start, running = 0, np.zeros(w.shape[1], np.int64)
    for row in range(w.shape[0]):
        running = running + magnitudes[row]
        if row > start and running.size and int(running.max()) > most:
            cuts.append((start, row))
            start, running = row, magnitudes[row].copy()
    return [*cuts, (start, w.shape[0])] if w.shape[0] else cuts
