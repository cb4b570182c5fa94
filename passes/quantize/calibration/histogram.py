"""Counts of values in bins that widen as the span of what is seen grows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

BINS = 8192
"""Bins at most. A span is cut into 4,096 to 8,192 of them: 16 to 32 for each step of an 8-bit grid."""

SAMPLED = 1 << 18
"""Elements counted of one array: more are drawn evenly. All of a BERT's values take 5 ns each, a third of the run; drawn, a tenth."""

TINY = 2.0**-100
"""Under this width, bins are found in float64."""


@dataclass(slots=True, eq=False)
class Histogram:
    """Bins of equal width, a power of two, whose borders are multiples of it.

    When the span outgrows `BINS`, the width doubles and neighbours are added up: no count is split or guessed, so that the result does
    not depend on the order of the data. Exact zeros are counted apart: any grid represents them.

    Attributes:
        width: of a bin; 0 before the first value.
        first: number of the first bin: it holds `first * width` up to `(first + 1) * width`.
        counts: of each bin, int64, zeros of the data left out.
        zeros: how many values were exactly 0.
    """

    width: float = 0.0
    first: int = 0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    zeros: int = 0

    def add(self, values: np.ndarray, low: float, high: float) -> None:
        """Count finite values in.

        Args:
            values: float, flat.
            low: at most the least of them.
            high: at least the largest of them.
        """
        if low == high == 0:
            self.zeros += drawn(values).size
            return
        self._reach(low, high)
        taken = drawn(values)
        exact = taken if self.width > TINY else taken.astype(np.float64)  # the width is a power of two: multiplying rounds nothing
        numbers = np.floor(exact * (1 / self.width)).astype(np.int64) - self.first
        np.clip(numbers, 0, self.counts.size - 1, out=numbers)
        self.counts += np.bincount(numbers, minlength=self.counts.size)
        zeros = taken.size - int(np.count_nonzero(taken))
        self.zeros += zeros
        if zeros:
            self.counts[-self.first] -= zeros

    def _reach(self, low: float, high: float) -> None:
        """Make bins for everything from `low` to `high`, and 0."""
        low, high = min(low, 0.0), max(high, 0.0)
        if self.width:
            low, high = min(low, self.first * self.width), max(high, (self.first + self.counts.size - 1) * self.width)
        width = self.width or 2.0 ** max(math.floor(math.log2(high - low)) - int(math.log2(BINS)) + 1, -1022)
        while math.floor(high / width) - math.floor(low / width) + 1 > BINS:
            width *= 2
        while self.width and self.width < width:
            self._widen()
        first, last = math.floor(low / width), math.floor(high / width)
        counts = np.zeros(last - first + 1, np.int64)
        counts[self.first - first : self.first - first + self.counts.size] = self.counts
        self.width, self.first, self.counts = width, first, counts

    def _widen(self) -> None:
        """Double the width."""
        numbers = (np.arange(self.counts.size) + self.first) >> 1
        first = self.first >> 1
        counts = np.bincount(numbers - first, weights=self.counts).astype(np.int64)
        self.width, self.first, self.counts = self.width * 2, first, counts

    @property
    def total(self) -> int:
        """Values counted."""
        return int(self.counts.sum()) + self.zeros

    @property
    def centres(self) -> np.ndarray:
        """The middle of each bin, float64."""
        return (np.arange(self.counts.size) + self.first + 0.5) * self.width

    def quantile(self, share: float) -> float:
        """The value under which this share of the data lies, linear within a bin."""
        counts, place = self.counts, -self.first
        if self.zeros:
            counts = counts.copy() if 0 <= place < counts.size else np.zeros(place + 1, np.int64)
            counts[place] += self.zeros
        if not counts.size:
            return 0.0
        sums: np.ndarray = counts.cumsum()
        wanted = share * float(sums[-1])
        at = min(int(np.searchsorted(sums, wanted)), counts.size - 1)
        inside = int(counts[at])
        return (self.first + at + (wanted - float(sums[at] - inside)) / max(1, inside)) * self.width


def drawn(values: np.ndarray) -> np.ndarray:
    """About `SAMPLED` of the values at most: every n-th, where n and their number have no common factor, so that no channel is missed."""
    if values.size <= SAMPLED:
        return values
    step = -(-values.size // SAMPLED)
    while math.gcd(step, values.size) > 1:
        step += 1
    return values[::step]
