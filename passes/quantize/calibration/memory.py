"""How much of a program's values is held at a time: few rows of a batch, then few of the values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from netwright.ir.dims import evaluate, is_known, shape_of

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Feeds

VALUE_BYTES = 1 << 27
"""Values that one run hands out."""

KEPT_BYTES = 1 << 26
"""Inputs that are kept while the program runs on them once for each group of values."""


class Sizes:
    """Bytes of values: from their shapes, and once seen from what they were.

    Args:
        program: whose values they are.
        names: of the values.
    """

    def __init__(self, program: Program, names: Sequence[str]) -> None:
        self._inputs = {value.name or "": shape_of(value) for value in program.inputs}
        self._shapes = {name: shape_of(program.value(name)) for name in names}
        self._seen: dict[str, float] = {}

    @property
    def guessing(self) -> bool:
        """True before the first run where the shape of a value is not known."""
        return not self._seen and any(dims is None or not all(map(is_known, dims)) for dims in self._shapes.values())

    def of(self, feeds: Feeds) -> dict[str, int]:
        """Bytes of each value in a run on these feeds; a value of unknown shape is taken for as large as the largest."""
        bound = self._bound(feeds)
        rows = _rows(feeds)
        found: dict[str, int | None] = {}
        for name, dims in self._shapes.items():
            sizes = None if dims is None else [evaluate(dim, bound) for dim in dims]
            if sizes is not None and None not in sizes:
                found[name] = 4 * math.prod(size for size in sizes if size is not None)
            else:
                found[name] = math.ceil(self._seen[name] * rows) if name in self._seen else None
        largest = max((size for size in found.values() if size is not None), default=1 << 20)
        return {name: largest if size is None else size for name, size in found.items()}

    def saw(self, feeds: Feeds, values: Mapping[str, np.ndarray]) -> None:
        """Remember how large values of unknown shape were, for each row of the batch."""
        rows = _rows(feeds)
        for name, array in values.items():
            self._seen[name] = max(self._seen.get(name, 0.0), array.nbytes / rows)

    def _bound(self, feeds: Feeds) -> dict[str, int]:
        """What the feeds' shapes say of named dimensions."""
        bound: dict[str, int] = {}
        for name, array in feeds.items():
            for dim, size in zip(self._inputs.get(name) or (), array.shape, strict=False):
                if not isinstance(dim, int) and dim.value is not None:
                    bound[dim.value] = size
        return bound


def groups_of(sizes: Mapping[str, int]) -> list[list[str]]:
    """Values in order, in groups of at most `VALUE_BYTES` (or of one value)."""
    groups: list[list[str]] = []
    used = 0
    for name, size in sizes.items():
        if not groups or used + size > VALUE_BYTES:
            groups.append([])
            used = 0
        groups[-1].append(name)
        used += size
    return groups


def rows_that_fit(feeds: Feeds, sizes: Mapping[str, int]) -> int:
    """How many rows of a batch to run at a time so that the values take at most `VALUE_BYTES`; at least 1."""
    whole = sum(sizes.values())
    rows = _rows(feeds)
    return rows if whole <= VALUE_BYTES else max(1, rows * VALUE_BYTES // whole)


def chunks(batches: Iterator[Feeds], limit: Callable[[], int]) -> Iterator[list[Feeds]]:
    """Batches in lists of about so many bytes; the limit is asked for anew each time."""
    kept: list[Feeds] = []
    used = 0
    for feeds in batches:
        kept.append(feeds)
        used += sum(array.nbytes for array in feeds.values())
        if used >= limit():
            yield kept
            kept, used = [], 0
    if kept:
        yield kept


def _rows(feeds: Feeds) -> int:
    return max((array.shape[0] for array in feeds.values() if array.ndim), default=1) or 1
