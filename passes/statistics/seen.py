"""Sums over what an operator sees."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from netwright.passes.statistics.moments import Moments


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

    def add_counts(self, counts: np.ndarray) -> None:
        """Count look-ups in, [entries]."""
        self.counts = counts if self.counts is None else self.counts + counts

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
