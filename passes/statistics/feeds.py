"""Going through data, and choosing what of it to look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from netwright.ir.dims import shape_of
from netwright.ir.errors import DataError

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Feeds


def feeds_of(program: Program, batches: Iterable[Feeds]) -> Iterator[dict[str, np.ndarray]]:
    """The batches without what is no input of the program (labels)."""
    names = frozenset(value.name for value in program.inputs)
    return ({name: array for name, array in batch.items() if name in names} for batch in batches)


def pieces(program: Program, batches: Iterable[Feeds], *, rows: int, most: int, seed: int) -> list[dict[str, np.ndarray]]:
    """A sample of data in small batches, drawn evenly from all of it in one pass (labels may come sorted).

    Args:
        program: whose inputs the data fits. Where the first axis of an input is fixed, or arrays differ in their first axis, batches stay
            whole.
        batches: inputs and labels by name.
        rows: to a piece.
        most: how many pieces are wanted; so many are in memory.
        seed: of the draw.

    Raises:
        DataError: the data holds no batch.
    """
    rng = np.random.default_rng(seed)
    kept: list[tuple[int, dict[str, np.ndarray]]] = []
    for seen, piece in enumerate(_cut(program, batches, rows)):
        if len(kept) < most:
            kept.append((seen, _copied(piece)))
        elif (place := int(rng.integers(seen + 1))) < most:
            kept[place] = (seen, _copied(piece))
    if not kept:
        raise DataError("The data holds no batch.", place="data", remedy="Give at least one.")
    return [piece for _, piece in sorted(kept, key=lambda entry: entry[0])]


def _cut(program: Program, batches: Iterable[Feeds], rows: int) -> Iterator[dict[str, np.ndarray]]:
    shapes = [shape_of(value) for value in program.inputs]
    free = all(dims is not None and len(dims) > 0 and not isinstance(dims[0], int) for dims in shapes)
    for batch in batches:
        sizes = {array.shape[0] if array.ndim else 0 for array in batch.values()}
        if not free or len(sizes) != 1 or max(sizes) <= rows:
            yield dict(batch)
            continue
        for start in range(0, max(sizes), rows):
            yield {name: array[start : start + rows] for name, array in batch.items()}


def _copied(piece: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Views would keep the whole batch alive."""
    return {name: array.copy() if array.base is not None else array for name, array in piece.items()}


def places(count: int, most: int, seed: int | list[int]) -> np.ndarray:
    """At most `most` of the numbers from 0 to `count`, in order, drawn without replacement.

    Args:
        count: how many there are.
        most: how many are wanted.
        seed: of the draw; the same seed gives the same numbers.
    """
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
