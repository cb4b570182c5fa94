"""Rows and columns of a weight in another order, so that its zeros fill whole arrays, which then are not needed.

A matrix [K, J] stands in ⌈K / block⌉ · ⌈J / width⌉ arrays. Columns that hold nothing but zeros go; the others are put into groups of at
most an array's width, and a group needs only the rows in which one of its columns is not zero. The fewer rows a group's columns have
together, the fewer blocks: columns with alike rows are put together, one after the other, each time the one that adds the fewest rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Columns that share arrays, and the rows that they need.

    Attributes:
        rows: of the weight, ascending.
        columns: of the weight, in their new order.
    """

    rows: np.ndarray
    columns: np.ndarray

    def arrays(self, block: int, width: int) -> int:
        """Arrays that it takes."""
        return -(-len(self.rows) // block) * -(-len(self.columns) // width)


@dataclass(frozen=True, slots=True, eq=False)
class Sequencing:
    """A weight's new order.

    Attributes:
        groups: of columns.
        idle: columns of zeros.
        shape: K and J.
        arrays_before: arrays that the weight takes as it is.
        arrays: that the groups take.
    """

    groups: tuple[Group, ...]
    idle: np.ndarray
    shape: tuple[int, int]
    arrays_before: int
    arrays: int

    @property
    def rows_freed(self) -> float:
        """Share of (row, column) places whose row its group leaves out, idle columns aside."""
        kept = sum(len(group.rows) * len(group.columns) for group in self.groups)
        live = self.shape[0] * (self.shape[1] - len(self.idle))
        return 1.0 - kept / live if live else 0.0

    @property
    def order(self) -> np.ndarray:
        """The columns in their new order, idle ones last."""
        return np.concatenate([*(group.columns for group in self.groups), self.idle]).astype(np.int64)

    @property
    def moves(self) -> bool:
        """True where columns change their order."""
        return not np.array_equal(self.order, np.arange(self.shape[1]))


def sequence(weight: np.ndarray, block: int, width: int, *, places: int = 1, reorder: bool = True) -> Sequencing:
    """The order that takes the fewest arrays, and of those the plainest.

    O(K · J) for each group of columns.

    Args:
        weight: [K, J].
        block: rows of an array.
        width: weights that stand side by side in an array.
        places: of a kernel: row p·C + c is channel c at place p, and a channel stays or goes at all of them, so that its map can.
        reorder: False to leave all columns where they are and take out rows of zeros only.
    """
    live = weight != 0
    if places > 1:
        live = np.tile(live.reshape(places, -1, live.shape[1]).any(axis=0), (places, 1))
    busy = live.any(axis=0)
    columns, idle = np.flatnonzero(busy), np.flatnonzero(~busy)
    before = -(-live.shape[0] // block) * -(-live.shape[1] // width)
    if not len(columns):
        return Sequencing((), idle, live.shape, before, 0)
    if not reorder:
        whole = _group(live, np.array(range(live.shape[1]), np.int64))
        return Sequencing((whole,), idle[:0], live.shape, before, whole.arrays(block, width))
    plain = (_group(live, columns),)
    as_they_are = _merged(live, [columns[at : at + width] for at in range(0, len(columns), width)], block, width)
    clustered = (_merged(live, alike(live, columns, width, fullest=fullest), block, width) for fullest in (True, False))
    best = min((plain, as_they_are, *clustered), key=lambda groups: sum(group.arrays(block, width) for group in groups))
    return Sequencing(tuple(best), idle, live.shape, before, sum(group.arrays(block, width) for group in best))


def _group(live: np.ndarray, columns: np.ndarray) -> Group:
    return Group(np.flatnonzero(live[:, columns].any(axis=1)), columns)


def _merged(live: np.ndarray, parts: Sequence[np.ndarray], block: int, width: int) -> tuple[Group, ...]:
    """Groups, neighbours put together where that takes no more arrays: fewer products to start and to gather inputs for."""
    groups: list[Group] = []
    for part in parts:
        one = _group(live, part)
        if groups:
            both = _group(live, np.concatenate([groups[-1].columns, part]))
            if both.arrays(block, width) <= groups[-1].arrays(block, width) + one.arrays(block, width):
                groups[-1] = both
                continue
        groups.append(one)
    return tuple(groups)


def alike(live: np.ndarray, columns: np.ndarray, width: int, *, fullest: bool) -> list[np.ndarray]:
    """Columns with alike rows, `width` at a time: one to begin with, then whichever adds the fewest rows.

    Args:
        live: [K, J], True where a column needs a row.
        columns: to be put together.
        width: of a group.
        fullest: begin each group with the column of the most rows rather than that of the fewest.
    """
    found: list[np.ndarray] = []
    left = columns
    while len(left):
        rows = live[:, left]
        adds = rows.sum(axis=0)
        taken = [int(np.argmax(adds) if fullest else np.argmin(adds))]
        union = rows[:, taken[0]].copy()
        adds = adds - rows[union].sum(axis=0)
        free = np.ones(len(left), bool)
        free[taken[0]] = False
        while len(taken) < min(width, len(left)):
            one = int(np.argmin(adds + ~free * (live.shape[0] + 1)))
            new = rows[:, one] & ~union
            union |= new
            adds = adds - rows[new].sum(axis=0)
            taken.append(one)
            free[one] = False
        found.append(left[np.sort(taken)])
        left = left[free]
    return found
