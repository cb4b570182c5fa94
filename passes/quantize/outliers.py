"""Input channels far larger than the rest, found by running the model; shrinking them lets one scale resolve all others.

An activation quantized as it comes has one step, Δx = range / 255, for all channels, so that one channel of peak 28 among others of 2
costs all of them four bits. Dividing such a channel by a power of two f_k, and multiplying row k of the weights by it, leaves the float
product unchanged to the bit. The expected squared error of x W per row of x, x: [rows, K], W: [K, N], is

    E(f) = Δx(f)² / 12 · Σ_k f_k² |W_k|²  +  Σ_n Δw_n(f)² / 12 · Σ_k mean(x_k²) / f_k²,      Δw_n = max_k f_k |W_kn| / 127

and f is chosen to minimise it, among f_k = 2^ceil(log2(peak_k / t)) for a few thresholds t. After SmoothQuant (Xiao et al., 2022), which
smooths all channels; that raised the error here (MiniLM: cosine to the original 0.990, without 0.993, with this 0.997).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from netwright.passes.memory import release_session
from netwright.passes.quantize.choice import Outliers

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Executor, Feeds

BATCHES = 8
"""Batches run: outlier channels are the same for nearly every input."""

SHARE = 1 / 16
"""At most this share of the channels is shrunk; an activation with more is wide rather than peaked."""

GAIN = 0.8
"""Shrink only where the expected error falls under this share of what it was: the multiplication costs 1 to 2 % of the time."""

_STEPS = 16
"""Thresholds tried: the largest peak divided by powers of the square root of two."""


@dataclass(frozen=True, slots=True)
class Spread:
    """What was seen of an activation, by channel (its last axis).

    Attributes:
        low: smallest value in each batch, at most 0, [batches, channels].
        high: largest, at least 0.
        power: mean square, [channels].
    """

    low: np.ndarray
    high: np.ndarray
    power: np.ndarray

    @property
    def finite(self) -> bool:
        """False where a NaN or an infinity was seen."""
        return bool(np.isfinite(self.low).all() and np.isfinite(self.high).all() and np.isfinite(self.power).all())

    def joined(self, other: Spread) -> Spread:
        """Both activations, for a weight that serves both."""
        return Spread(np.concatenate([self.low, other.low]), np.concatenate([self.high, other.high]), np.maximum(self.power, other.power))


def spreads(program: Program, executor: Executor, batches: Iterable[Feeds], values: Sequence[str]) -> Mapping[str, Spread]:
    """Run some batches and look at inner values.

    Args:
        program: left as it is.
        executor: runs it.
        batches: feeds.
        values: names of float values of the main graph.

    Returns:
        By value; values without elements or of rank 0 are left out.
    """
    seen: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}
    for feeds in batches:
        for name, array in executor.run(program, feeds, values).items():
            if array.ndim == 0 or array.size == 0:
                continue
            flat = array.reshape(-1, array.shape[-1])
            low, high = np.minimum(flat.min(axis=0), 0), np.maximum(flat.max(axis=0), 0)
            power = np.einsum("ij,ij->j", flat, flat, dtype=np.float64) / flat.shape[0]
            seen.setdefault(name, []).append((low.astype(np.float64), high.astype(np.float64), power))
    release_session(executor)  # what follows reads all weights
    return {
        name: Spread(
            np.stack([low for low, _, _ in found]),
            np.stack([high for _, high, _ in found]),
            np.mean([power for _, _, power in found], axis=0),
        )
        for name, found in seen.items()
    }


def outliers_for(spread: Spread, weights: Sequence[np.ndarray]) -> Outliers:
    """The channels to shrink and their factors; empty where that gains little.

    Args:
        spread: of the activation.
        weights: of all products that read it, each [channels, columns], float32.
    """
    if not spread.finite:
        return ()
    peaks = np.maximum(spread.high, -spread.low).mean(axis=0)
    thresholds = peaks.max() * 2.0 ** (-np.arange(1, _STEPS + 1) / 2)
    limit = max(1, int(SHARE * peaks.size))
    tried = [threshold for threshold in thresholds if 0 < np.count_nonzero(peaks > threshold) <= limit]
    if not tried:
        return ()
    rows = np.flatnonzero(peaks > tried[-1])
    costs = [_Cost.of(weight, rows) for weight in weights]
    neutral = np.ones(peaks.size)
    least = GAIN * sum(cost.at(spread, neutral) for cost in costs)
    best: np.ndarray | None = None
    for threshold in tried:
        factors = np.where(peaks > threshold, 2.0 ** np.ceil(np.log2(np.maximum(peaks, threshold) / threshold)), 1.0)
        error = sum(cost.at(spread, factors) for cost in costs)
        if error < least:
            least, best = error, factors
    if best is None:
        return ()
    return tuple((int(channel), int(best[channel])) for channel in np.flatnonzero(best > 1))


@dataclass(frozen=True, slots=True)
class _Cost:
    """What the expected error of one product needs to know of its weight.

    Attributes:
        norms: squared norm of each row, [channels].
        rows: the channels that may be shrunk.
        their: those rows' absolute values, [len(rows), columns].
        others: largest absolute value of each column over all other rows, [columns].
    """

    norms: np.ndarray
    rows: np.ndarray
    their: np.ndarray
    others: np.ndarray

    @classmethod
    def of(cls, weight: np.ndarray, rows: np.ndarray) -> _Cost:
        """Reads the weight twice, in slices."""
        norms = np.einsum("ij,ij->i", weight, weight, dtype=np.float64)
        rest = np.ones(weight.shape[0], bool)
        rest[rows] = False
        others = np.zeros(weight.shape[1], np.float32)
        for start in range(0, weight.shape[0], 256):
            part = weight[start : start + 256][rest[start : start + 256]]
            others = np.maximum(others, np.abs(part).max(axis=0, initial=0))
        return cls(norms, rows, np.abs(weight[rows]), others)

    def at(self, spread: Spread, factors: np.ndarray) -> float:
        """E(f), see the module."""
        step = ((spread.high / factors).max(axis=1) - (spread.low / factors).min(axis=1)) / 255
        largest = np.maximum(self.others, (self.their * factors[self.rows, None]).max(axis=0)) / 127
        of_activation = float((step**2).mean()) * float((factors**2 * self.norms).sum())
        of_weight = float((largest.astype(np.float64) ** 2).sum()) * float((spread.power / factors**2).sum())
        return (of_activation + of_weight) / 12
