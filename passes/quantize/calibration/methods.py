"""Choosing the range that an activation's grid is to span: all of it, or less, so that what lies within is resolved better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from netwright.passes.quantize.calibration.grids import grid_of, on_grid
from netwright.passes.quantize.calibration.tensors import TensorStatistics
from netwright.passes.quantize.choice import ActivationGrid

Method = Literal["minmax", "moving", "percentile", "entropy", "mse", "lp"]
METHODS: tuple[Method, ...] = get_args(Method)

PERCENTILE = 99.99
"""Share of the elements, in percent, that `percentile` spans where nothing else is asked for."""

POWER = 2.4
"""Exponent of `lp`. Between 2, which clips what classifiers decide by, and 4, which clips next to nothing."""

_ENTROPY_BINS = 2048
_SHARES = np.linspace(1.0, 0.1, 46)
"""Clips tried, as shares of each end."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The kind of grid wanted.

    Attributes:
        bits: of the integers.
        signed: from -2 ** (bits - 1), else from 0.
        symmetric: the zero in the middle.
        percentile: see `PERCENTILE`.
    """

    bits: int = 8
    signed: bool = False
    symmetric: bool = False
    percentile: float = PERCENTILE

    def grid(self, low: float, high: float) -> ActivationGrid:
        """The grid of a range."""
        return grid_of(low, high, bits=self.bits, signed=self.signed, symmetric=self.symmetric)


def find_grid(method: Method, seen: TensorStatistics, wanted: Wanted) -> ActivationGrid:
    """The grid that a method chooses."""
    return wanted.grid(*_RANGES[method](seen, wanted))


def _minmax(seen: TensorStatistics, wanted: Wanted) -> tuple[float, float]:
    """All that was seen."""
    del wanted
    return seen.low, seen.high


def _moving(seen: TensorStatistics, wanted: Wanted) -> tuple[float, float]:
    """The mean range of a batch (Jacob et al., 2018)."""
    del wanted
    return seen.moving_low, seen.moving_high


def _percentile(seen: TensorStatistics, wanted: Wanted) -> tuple[float, float]:
    """All but a share, half of it at each end (McKinstry et al., 2018)."""
    tail = (1 - wanted.percentile / 100) / 2
    return max(seen.low, seen.histogram.quantile(tail)), min(seen.high, seen.histogram.quantile(1 - tail))


def _entropy(seen: TensorStatistics, wanted: Wanted) -> tuple[float, float]:
    """The range whose grid keeps the distribution best, by the Kullback-Leibler divergence (Migacz, 8-bit inference with TensorRT, 2017).

    Exact zeros are left out, as that method leaves out its first bin: they are on every grid, and after a Relu they would be most of the
    distribution.
    """
    centres, counts = _coarser(seen, _ENTROPY_BINS)
    return _search(seen, lambda low, high: _divergence(centres, counts, low, high, wanted))


def _mse(seen: TensorStatistics, wanted: Wanted) -> tuple[float, float]:
    """The range with the least squared error, rounding and clipping together (Banner et al., 2019; here by trying)."""
    return _least_error(seen, wanted, 2.0)


def _lp(seen: TensorStatistics, wanted: Wanted) -> tuple[float, float]:
    """The range with the least error to the power 2.4, so that large elements keep their place (Nahshan et al., 2019)."""
    return _least_error(seen, wanted, POWER)


def _least_error(seen: TensorStatistics, wanted: Wanted, power: float) -> tuple[float, float]:
    histogram = seen.histogram
    occupied = histogram.counts > 0
    centres, counts = histogram.centres[occupied], histogram.counts[occupied].astype(np.float64)
    return _search(seen, lambda low, high: _error(centres, counts, histogram.width, wanted.grid(low, high), power))


_RANGES: dict[Method, Callable[[TensorStatistics, Wanted], tuple[float, float]]] = {
    "minmax": _minmax,
    "moving": _moving,
    "percentile": _percentile,
    "entropy": _entropy,
    "mse": _mse,
    "lp": _lp,
}


def _search(seen: TensorStatistics, cost: Callable[[float, float], float]) -> tuple[float, float]:
    """The cheapest range: both ends are clipped together first, then each alone."""
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    if not seen.histogram.counts.any():
        return low, high
    best, least = (low, high), np.inf
    ends = ((True, True), (False, True), (True, False)) if low < 0 < high else ((True, True),)
    for moves_low, moves_high in ends:
        start = best
        for share in _SHARES:
            tried = (low * share if moves_low else start[0], high * share if moves_high else start[1])
            found = cost(*tried)
            if found < least:
                best, least = tried, found
    return best


def _error(centres: np.ndarray, counts: np.ndarray, width: float, grid: ActivationGrid, power: float) -> float:
    """Σ |x − x̂|^p; where the grid is finer than the bins, x lies anywhere between two of its steps."""
    if grid.scale >= 2 * width:
        return float(counts @ np.abs(centres - on_grid(centres, grid)) ** power)
    low, high = (grid.low - grid.zero_point) * grid.scale, (grid.high - grid.zero_point) * grid.scale
    outside = centres - np.clip(centres, low, high)
    return float(counts @ (np.abs(outside) ** power + (outside == 0) * (grid.scale / 2) ** power / (power + 1)))


def _coarser(seen: TensorStatistics, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """The histogram with at most so many bins: centres and counts."""
    histogram = seen.histogram
    merged = -(-histogram.counts.size // bins)
    numbers = (np.arange(histogram.counts.size) + histogram.first) // merged
    first = int(numbers[0]) if numbers.size else 0
    counts = np.bincount(numbers - first, weights=histogram.counts)
    return (np.arange(counts.size) + first + 0.5) * (histogram.width * merged), counts


def _divergence(centres: np.ndarray, counts: np.ndarray, low: float, high: float, wanted: Wanted) -> float:
    """KL(P ‖ Q): P has what lies outside in its last bins, Q spreads each integer's share over the bins that become it."""
    grid = wanted.grid(low, high)
    inside = (centres >= low) & (centres <= high)
    places = np.flatnonzero(inside)
    if not places.size:
        return np.inf
    first, last = places[0], places[-1] + 1
    own = counts[first:last]
    with_tails = own.copy()
    with_tails[0] += counts[:first].sum()
    with_tails[-1] += counts[last:].sum()
    levels = np.clip(np.rint(centres[first:last] / grid.scale) + grid.zero_point, grid.low, grid.high).astype(np.int64) - grid.low
    sums, filled = np.bincount(levels, weights=own), np.bincount(levels, weights=own > 0)
    spread = np.where(own > 0, sums[levels] / np.maximum(filled[levels], 1), 0)
    if not spread.sum():
        return np.inf
    p, q = with_tails / with_tails.sum(), np.maximum(spread / spread.sum(), 1e-12)
    some = p > 0
    return float(np.sum(p[some] * np.log(p[some] / q[some])))
