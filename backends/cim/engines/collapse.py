"""Where nothing is lost in conversion: the plain product, in float32 products of as many rows as are provably exact.

A float32 product of integers is exact, in whatever order it is summed, while max|x| · Σ|w| stays at or below 2^24 in each column: rows are
cut into chunks by their own weights, and chunks are added as integers. Wide operands (16 bits) take float64, with 2^53 likewise.
"""

from __future__ import annotations

import numpy as np

from netwright.backends.cim.engines.compiled import Kernels

EXACT: dict[np.dtype[np.floating], int] = {np.dtype(np.float32): 1 << 24, np.dtype(np.float64): 1 << 53}
"""Largest integer up to which all are exact."""

LEAST_ROWS = 16
"""Rows that a chunk holds at least, or wider floats are taken."""


HELD = 1 << 18
"""Bytes of floats that are multiplied at once."""


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

    def multiply(self, x: np.ndarray, dtype: np.dtype[np.int32] | np.dtype[np.int64], kernels: Kernels | None = None) -> np.ndarray:
        """The product [N, J] of integers [N, K]; as many vectors at a time as stay in the cache."""
        values = np.empty((x.shape[0], self.sums.size), dtype)
        step = max(64, HELD // (x.shape[1] * self.dtype.itemsize))
        centred = np.empty((min(step, x.shape[0]), x.shape[1]), self.dtype)
        products = np.empty((len(centred), self.sums.size), self.dtype)
        for first in range(0, x.shape[0], step):
            some, into = x[first : first + step], values[first : first + step]
            floats, sums = centred[: len(some)], products[: len(some)]
            if kernels is None:
                np.subtract(some, self.dtype.type(self.centre), out=floats, dtype=self.dtype)
            else:
                kernels.centre(some, self.dtype.type(self.centre), floats)
            for index, (start, stop, chunk) in enumerate(self.chunks):
                np.matmul(floats[:, start:stop], chunk, out=sums)
                if index == 0 and kernels is not None:
                    kernels.settle(sums, self.sums, into)
                    continue
                whole = sums.astype(dtype)
                into[:] = whole + (self.sums.astype(dtype) if index == 0 else into)
        return values


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
