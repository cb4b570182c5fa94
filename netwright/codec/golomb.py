"""Exponential-Golomb codes: how many bits they take, and which order suits a set of numbers.

The code of order k of u ≥ 0 is that of v = u + 2^k: as many zeros as v has bits beyond k + 1, then v itself (Teuhola, 1978). Small
numbers get few bits, and no table is sent.
"""

from __future__ import annotations

import numpy as np

ORDERS = range(16)
"""Orders that are tried."""
_COUNTED = 1 << 16
"""Numbers below are counted in a table."""


def folded(values: np.ndarray) -> np.ndarray:
    """Integers other than zero as numbers from 0: 1, -1, 2, -2 … become 0, 1, 2, 3 …."""
    wide = values.astype(np.int64)
    return 2 * (np.abs(wide) - 1) + (wide < 0)


def unfolded(numbers: np.ndarray) -> np.ndarray:
    """The integers back, as int64."""
    magnitude = (numbers >> 1) + 1
    return np.where(numbers & 1, -magnitude, magnitude)


def lengths(numbers: np.ndarray, order: int) -> np.ndarray:
    """Bits of each number's code."""
    return 2 * _bit_lengths(numbers + (1 << order)) - 1 - order


def best_order(numbers: np.ndarray) -> tuple[int, int]:
    """The order with the fewest bits, and how many those are. Linear in the numbers, whatever the orders."""
    distinct, counts = _counted(numbers)
    totals = [int((lengths(distinct, order) * counts).sum()) for order in ORDERS]
    best = int(np.argmin(totals))
    return best, totals[best]


def _counted(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct numbers and how often each occurs; by counting where they are small, else by sorting."""
    if numbers.size and int(numbers.max()) >= _COUNTED:
        return np.unique(numbers, return_counts=True)
    counts = np.bincount(numbers)
    distinct = np.flatnonzero(counts)
    return distinct, counts[distinct]


def _bit_lengths(numbers: np.ndarray) -> np.ndarray:
    """Bits of positive integers below 2^53."""
    return np.frexp(numbers.astype(np.float64))[1].astype(np.int64)
