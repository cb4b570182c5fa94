"""Running a program on data, and summing up what its operators see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from netwright.passes.factorize.evidence.views import Entries, View
from netwright.passes.statistics import Moments, Repeated

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Executor, Feeds

MOST_ROWS = 1 << 16
"""Rows of each operator that are summed up, drawn evenly from all batches."""


@dataclass(slots=True, eq=False)
class Seen:
    """Sums over the rows of one view.

    Attributes:
        moments: of each group.
        magnitudes: Σ |x| of each group, [groups, features].
        counts: of a table, how often entries are looked up.
    """

    moments: list[Moments] = field(default_factory=list[Moments])
    magnitudes: np.ndarray | None = None
    counts: np.ndarray | None = None

    def add(self, rows: np.ndarray) -> None:
        """Count rows in, [groups, rows, features]."""
        if not self.moments:
            self.moments = [Moments(rows.shape[-1]) for _ in rows]
            self.magnitudes = np.zeros((rows.shape[0], rows.shape[-1]))
        for moments, own in zip(self.moments, rows, strict=True):
            moments.add(own)
        assert self.magnitudes is not None, "made with the moments"
        self.magnitudes += np.abs(rows).sum(axis=1, dtype=np.float64)

    @property
    def features(self) -> int:
        """How many features a row has."""
        return 0 if self.magnitudes is None else self.magnitudes.shape[-1]

    def forget(self) -> None:
        """Let the sums go, which take much memory."""
        self.moments = []

    @property
    def rows(self) -> int:
        """How many rows were counted."""
        return self.moments[0].count if self.moments else 0


def observe(program: Program, views: Sequence[View], batches: Iterable[Feeds], executor: Executor, *, seed: int) -> dict[View, Seen]:
    """Sums over what each view sees. Goes through the data once to count batches and once to run them.

    Args:
        program: left as it is.
        views: distinct ones.
        batches: inputs by name.
        executor: runs the program.
        seed: of the draw of rows.

    Raises:
        DataError: the data holds no batch.
    """
    data = Repeated(program, batches)
    found = {view: Seen() for view in views}
    wanted = list(dict.fromkeys(name for view in views for name in view.wanted))
    most = -(-MOST_ROWS // max(1, len(data)))
    for index, feeds in enumerate(data):
        values = {**executor.run(program, feeds, wanted)}
        for view, seen in found.items():
            if isinstance(view, Entries):
                counted = view.counts(values)
                seen.counts = counted if seen.counts is None else seen.counts + counted
            else:
                seen.add(view.rows(values, most, [seed, index]))
    return found
