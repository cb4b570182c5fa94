"""Which units go when so many are to go: the lowest, of each group or of all together, in steps that leave kept counts round.

Kept counts of a group are its size, or multiples of its grain from one grain up. So the units of a group, sorted, fall into blocks that
go one after the other; ranked together, all groups' blocks go by the mean of their scores. Where parts of a group fill an axis each, the
best unit of each part stays. N log N for N units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from netwright.training.group_sparse.units import UnitRange


def choose(ranges: Sequence[UnitRange], scores: np.ndarray, count: int, gone: np.ndarray, *, whole: bool = True) -> np.ndarray:
    """The units that go, the lowest of all groups: at most `count` with those that have gone.

    Args:
        ranges: the groups.
        scores: float64, one for each unit; the lowest go.
        count: how many may go in all.
        gone: bool, units that have gone already; they stay so, and their blocks come first.
        whole: whether blocks that have begun are gone through with, even if `count` does not allow for it.

    Returns:
        bool, the units that have gone or are to go.
    """
    order: list[np.ndarray] = []
    sizes: list[np.ndarray] = []
    means: list[np.ndarray] = []
    for one in ranges:
        own, was = scores[one.all], gone[one.all]
        best = _best(one, own, was)
        ranked = np.lexsort((own, ~was, best))
        cuts = _cuts(one, int(best.sum()))
        size = np.diff(cuts, prepend=0)
        ranked = ranked[: int(cuts[-1]) if len(cuts) else 0]
        starts = cuts - size
        sums = np.add.reduceat(own[ranked], starts) if len(cuts) else np.zeros(0)
        begun = np.add.reduceat(was[ranked].astype(np.int64), starts) > 0 if len(cuts) else np.zeros(0, bool)
        order.append(ranked + one.first)
        sizes.append(size)
        means.append(np.where(begun, -np.inf, sums / np.maximum(size, 1)))
    size, mean = np.concatenate(sizes), np.concatenate(means)
    by_mean = np.argsort(mean, kind="stable")
    taken = np.zeros(len(size), bool)
    taken[by_mean] = (np.cumsum(size[by_mean]) <= count) | (whole & (mean[by_mean] == -np.inf))
    chosen = gone.copy()
    chosen[np.concatenate(order)[np.repeat(taken, size)]] = True
    return chosen


def choose_evenly(ranges: Sequence[UnitRange], scores: np.ndarray, count: int, gone: np.ndarray, *, whole: bool = True) -> np.ndarray:
    """`choose`, each group by itself: of each the same share goes."""
    total = sum(one.count for one in ranges)
    chosen = gone.copy()
    for one in ranges:
        alone = replace(one, first=0)
        chosen[one.all] = choose([alone], scores[one.all], int(count * one.count / total + 1e-6), gone[one.all], whole=whole)
    return chosen


def most(ranges: Sequence[UnitRange]) -> int:
    """How many units can go in all."""
    return sum(int(cuts[-1]) for one in ranges if len(cuts := _cuts(one, len(_parts(one)))))


def _parts(one: UnitRange) -> list[np.ndarray]:
    """Of a group with several parts those that must keep a unit that could go, as places in the range."""
    if len(one.group.parts) < 2:
        return []
    return [np.searchsorted(one.numbers, part) for part in one.group.parts if np.isin(part, one.numbers).all()]


def _best(one: UnitRange, scores: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """The unit of the highest score of each part, bool."""
    best = np.zeros(len(scores), bool)
    for part in _parts(one):
        left = part[~gone[part]]
        best[left[np.argmax(scores[left])]] = True
    return best


def _cuts(one: UnitRange, stay: int) -> np.ndarray:
    """How many units of a group may have gone: ascending, without 0. `stay` of those that could go do not."""
    size = one.group.size
    largest = (size - 1) // one.grain * one.grain
    kept = np.arange(largest, 0, -one.grain)
    return size - kept[size - kept <= one.count - stay]
