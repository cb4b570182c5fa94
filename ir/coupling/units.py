"""Labels and what is known of them: which stand for one unit, which cannot go, which are what.

Every index of every tracked axis has a label, an integer. An operator's rule says which labels must go together (`tie`), which
can never go (`freeze`), and which cannot go without changing more than themselves (`inexact`). Nothing is propagated: all ties
are solved at once as connected components, in near-linear time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components as scipy_components  # pyright: ignore[reportUnknownVariableType] - no types

Labels = np.ndarray
"""Labels of the indices along an axis, int64."""


@dataclass(slots=True)
class Units:
    """Labels given out, and what rules said of them."""

    count: int = 0
    joins: list[tuple[int, int, str, str]] = field(default_factory=list[tuple[int, int, str, str]])
    """Ranges of labels (from, to, site, module) that a node makes: units that lie in one range are of one group."""
    _ties: list[tuple[Labels, Labels]] = field(default_factory=list[tuple[Labels, Labels]])
    _frozen: list[tuple[Labels, str]] = field(default_factory=list[tuple[Labels, str]])
    _inexact: list[tuple[Labels, str]] = field(default_factory=list[tuple[Labels, str]])
    _marks: dict[str, list[Labels]] = field(default_factory=dict[str, list[Labels]])

    def fresh(self, size: int) -> Labels:
        """New labels for an axis."""
        first = self.count
        self.count += size
        return np.arange(first, first + size)

    def tie(self, a: Labels, b: Labels) -> None:
        """Labels that go together, one by one (one of the two may be a single label)."""
        if a is not b:
            self._ties.append((a, b))

    def freeze(self, labels: Labels, why: str) -> None:
        """Labels that can never go."""
        self._frozen.append((labels, why))

    def inexact(self, labels: Labels, why: str) -> None:
        """Labels whose removal differs from making them zero."""
        self._inexact.append((labels, why))

    def mark(self, labels: Labels, what: str) -> None:
        """Labels seen in a place that tells what they are."""
        self._marks.setdefault(what, []).append(labels)

    def made(self, labels: Labels, site: str, module: str) -> None:
        """Labels (a range, as `fresh` gave them) that a node makes."""
        if len(labels):
            self.joins.append((int(labels[0]), int(labels[-1]) + 1, site, module))

    def solve(self) -> Solved:
        """Who goes with whom."""
        unit_of = _components(self.count, self._ties)
        count = int(unit_of.max()) + 1 if self.count else 0
        return Solved(
            unit_of=unit_of,
            frozen=_reasons(unit_of, count, self._frozen),
            inexact=_reasons(unit_of, count, self._inexact),
            marks={what: _flags(unit_of, count, arrays) for what, arrays in self._marks.items()},
            joins=self.joins,
            count=count,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Solved:
    """What the ties come to.

    Attributes:
        unit_of: the unit that each label stands for.
        frozen: by unit the first reason why it cannot go, empty where it can.
        inexact: likewise, why its removal is not exact.
        marks: by mark, which units have it.
        joins: the ranges that nodes make.
        count: number of units.
    """

    unit_of: np.ndarray
    frozen: np.ndarray
    inexact: np.ndarray
    marks: dict[str, np.ndarray]
    joins: list[tuple[int, int, str, str]]
    count: int

    def marked(self, what: str, units: np.ndarray) -> bool:
        """True where any of these units has the mark."""
        flags = self.marks.get(what)
        return flags is not None and bool(flags[units].any())


def components(count: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The connected component of each of `count` things, where `left[i]` and `right[i]` are connected. int64."""
    graph = coo_matrix((np.ones(len(left), dtype=np.int8), (left, right)), shape=(count, count))
    found = cast("tuple[int, np.ndarray]", scipy_components(graph, directed=False))
    return found[1].astype(np.int64)


def _components(count: int, ties: Iterable[tuple[Labels, Labels]]) -> np.ndarray:
    pairs = [np.broadcast_arrays(a, b) for a, b in ties]
    if not pairs:
        return np.arange(count)
    return components(count, np.concatenate([a.ravel() for a, _ in pairs]), np.concatenate([b.ravel() for _, b in pairs]))


def _reasons(unit_of: np.ndarray, count: int, said: Iterable[tuple[Labels, str]]) -> np.ndarray:
    """By unit the first reason given, an empty string where none was."""
    found = np.full(count, "", dtype=object)
    for labels, why in said:
        units = unit_of[labels]
        found[units[found[units] == ""]] = why
    return found


def _flags(unit_of: np.ndarray, count: int, arrays: Iterable[Labels]) -> np.ndarray:
    found = np.zeros(count, dtype=bool)
    for labels in arrays:
        found[unit_of[labels]] = True
    return found
