"""What differs at a layer between two programs: sums by channel, streamed, and what a shift would leave on held-out batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Sums of one value by channel, batch by batch.

    Attributes:
        first: Σ y, [batches, channels].
        second: Σ y² over all channels, [batches].
        counts: elements of a channel, [batches].
    """

    first: np.ndarray
    second: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, arrays: list[Batch]) -> Sums:
        """Of some batches."""
        return cls(
            np.stack([one.first for one in arrays]), np.array([one.second for one in arrays]), np.array([one.count for one in arrays])
        )


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Sums of one batch: Σ y, [channels]; Σ y² over all channels; elements of a channel."""

    first: np.ndarray
    second: float
    count: int

    @classmethod
    def of(cls, y: np.ndarray, axis: int) -> Batch:
        """Of a value whose channels lie along `axis`."""
        axes = tuple(one for one in range(y.ndim) if one != axis % y.ndim)
        return cls(y.sum(axis=axes, dtype=np.float64), float(np.vdot(y, y)), y.size // y.shape[axis])


@dataclass(frozen=True, slots=True, eq=False)
class Shift:
    """What is added to a bias.

    Attributes:
        values: [channels]; zero where the held-out batches would not gain.
        before, after: the part of the held-out error that is a mean, relative to what the layer makes, without and with it.
    """

    values: np.ndarray
    before: float
    after: float


def shift(goal: Sums, made: Sums, held: np.ndarray) -> Shift:
    """E[y_float] - E[y_quantized] of the batches that are not held out, channel by channel where that helps the held-out ones.

    Σ (d - s)² - Σ d² = s (n s - 2 Σ d), so that sums of d tell whether a shift s lowers the squared difference.

    Args:
        goal: of the float program.
        made: of the quantized one.
        held: which batches judge, bool [batches].
    """
    difference = goal.first - made.first
    count, held_count = int(goal.counts[~held].sum()), int(goal.counts[held].sum())
    channels, power = int(difference.shape[1]), float(goal.second[held].sum())
    if not (count and held_count and np.isfinite(difference).all() and power > 0):
        return Shift(np.zeros(channels), float("nan"), float("nan"))
    mean, held_mean = difference[~held].sum(axis=0) / count, difference[held].sum(axis=0) / held_count
    values = np.zeros(channels)
    helps = mean * (mean - 2 * held_mean) < 0
    values[helps] = mean[helps]
    before = float(np.sqrt(held_count * np.square(held_mean).sum() / power))
    after = float(np.sqrt(held_count * np.square(held_mean - values).sum() / power))
    return Shift(values, before, after)
