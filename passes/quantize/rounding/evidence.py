"""What weights are multiplied with: second moments for rounding by, and held-out rows to judge by; streamed, some layers at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from netwright.passes.statistics import Repeated, Rows

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Executor, Feeds

BYTES = 1 << 29
"""What the sums gathered in one pass through the data, and one batch's activations, may take; more layers make more passes."""

AT_ONCE = 16
"""Views whose sizes are looked up in one run."""

ROWS_PER_FEATURE = 4
"""Rows summed up, for each feature, where the data has so many."""

LEAST_ROWS = 2048
"""Rows summed up for narrow layers."""

DRAWN_ELEMENTS = 1 << 26
"""Of one view in one batch, in memory at once."""

HELD_ROWS = 1024
"""Rows kept to judge by."""

HELD_SHARE = 0.25
"""Of each batch, its last rows, that are not summed up."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the readers of one weight see.

    Attributes:
        second: E[x xᵀ], [parts, features, features], float64. Parts are groups of a convolution, or directions, whose outputs lie one after
            the other; or, of a very wide layer, runs of features between which nothing is known.
        held: other rows, [parts, rows, features], float32.
        rows: how many rows are behind the moments.
        own: by how much an element's own error counts besides: a table that is looked up, too, is its own output.
    """

    second: np.ndarray
    held: np.ndarray
    rows: int
    own: float = 0.0

    @property
    def width(self) -> int:
        """Features of a part."""
        return self.second.shape[1]

    def whole(self) -> np.ndarray:
        """H, with the share of elements' own errors."""
        return self.second if not self.own else self.second + self.own * np.eye(self.width)

    def divided(self, factors: np.ndarray) -> Evidence:
        """The same rows, divided by factors [features of the matrix]; parts that lie side by side get their own factors."""
        stacks = factors.size // self.width
        own = np.concatenate([factors.reshape(stacks, self.width).astype(np.float64)] * (len(self.second) // stacks))
        held = np.asarray(self.held / own[:, None], np.float32)
        return Evidence(self.second / (own[:, :, None] * own[:, None, :]), held, self.rows, self.own)

    def error(self, matrix: np.ndarray) -> float:
        """Mean |M x|² over held-out rows (and the elements' own share), of M: [outputs, features] of the whole layer.

        Relative errors are square roots of ratios of these.
        """
        stacks = matrix.shape[1] // self.width
        groups = len(self.second) // stacks
        cut = matrix.reshape(groups, -1, stacks, self.width)
        total = 0.0
        for part, rows in enumerate(self.held):
            group, stack = divmod(part, stacks)
            made = np.asarray(rows @ cut[group, :, stack].T)
            total += float(np.vdot(made, made)) / max(1, len(rows))
        return total + (self.own * float(np.vdot(matrix, matrix)) if self.own else 0.0)


class Evidences:
    """Evidence of weights by name, gathered when it is asked for.

    Args:
        program: run on the data; is not to change any more.
        views: of each weight, what its readers see, in the order in which weights are going to be asked for.
        batches: data.
        executor: runs the program.
        seed: of the draw of rows.
    """

    def __init__(
        self, program: Program, views: Mapping[str, Sequence[Rows]], batches: Iterable[Feeds], executor: Executor, *, seed: int
    ) -> None:
        self._program = program
        self._views = views
        self._data = Repeated(program, batches)
        self._executor = executor
        self._seed = seed
        self._order = list(dict.fromkeys(view for own in views.values() for view in own))
        self._seen: dict[Rows, _Sums] = {}

    def of(self, name: str) -> Evidence | None:
        """Of one weight; None where no reader of it is seen, or what they see is not finite.

        Raises:
            DataError: the data holds no batch.
        """
        views = self._views.get(name, ())
        if not views:
            return None
        if any(view not in self._seen for view in views):
            self._gather(views)
        sums = [self._seen[view] for view in views]
        rows = sum(one.rows for one in sums)
        if not rows or any(one.second is None for one in sums):
            return None
        second = sum(one.second for one in sums if one.second is not None) / rows
        held = np.concatenate([np.concatenate(one.held, axis=1) for one in sums], axis=1)
        return Evidence(np.asarray(second), held, rows) if np.isfinite(second).all() and np.isfinite(held).all() else None

    def _gather(self, first: Sequence[Rows]) -> None:
        """Run the data and sum up what these views see, and the views after them that fit into memory beside them.

        How much a view takes shows at the first batch.
        """
        start = min(self._order.index(view) for view in first)
        waiting = [*first, *(view for view in self._order[start:] if view not in first)]
        self._seen = {}
        batches = len(self._data)
        kept: list[Rows] = list(waiting)
        for index, feeds in enumerate(self._data):
            if index == 0:
                kept = self._fitting(waiting, len(first), feeds)
                self._seen = {view: _Sums() for view in kept}
            wanted = list(dict.fromkeys(name for view in kept for name in view.wanted))
            found = self._executor.run(self._program, feeds, wanted)
            for view in kept:
                self._seen[view].add(view, found, batches, [self._seed, index])

    def _fitting(self, waiting: Sequence[Rows], least: int, feeds: Feeds) -> list[Rows]:
        """As many views as fit; the program is run for their widths a few at a time."""
        kept: list[Rows] = []
        counted: set[str] = set()
        used = 0
        for start in range(0, len(waiting), AT_ONCE):
            part = waiting[start : start + AT_ONCE]
            found = self._executor.run(self._program, feeds, list(dict.fromkeys(name for view in part for name in view.wanted)))
            for view in part:
                shape = view.rows(found, 1, [0]).shape
                used += 8 * shape[0] * shape[2] ** 2 + 4 * HELD_ROWS * shape[0] * shape[2]
                used += sum(found[name].nbytes for name in view.wanted if name not in counted)
                counted.update(view.wanted)
                if len(kept) >= least and used > BYTES:
                    return kept
                kept.append(view)
        return kept


class _Sums:
    """Sums over one view."""

    def __init__(self) -> None:
        self.second: np.ndarray | None = None
        self.held: list[np.ndarray] = []
        self.rows = 0

    def add(self, view: Rows, found: Mapping[str, np.ndarray], batches: int, seed: list[int]) -> None:
        """Count one batch in."""
        width = view.rows(found, 1, seed)
        parts, features = width.shape[0], width.shape[2]
        most = -(-max(LEAST_ROWS, ROWS_PER_FEATURE * features) // batches) + -(-HELD_ROWS // batches)
        drawn = view.rows(found, max(2, min(most, DRAWN_ELEMENTS // max(1, parts * features))), seed).astype(np.float32)
        held = max(1, min(int(HELD_SHARE * drawn.shape[1]), -(-HELD_ROWS // batches)))
        if self.second is None:
            self.second = np.zeros((parts, features, features))
        rows = drawn[:, :-held] if drawn.shape[1] > held else drawn
        with np.errstate(invalid="ignore", over="ignore"):  # rows that are not finite show in the sums
            for part, own in enumerate(rows):
                self.second[part] += own.T @ own
        self.held.append(drawn[:, -held:].copy())
        self.rows += rows.shape[1]
