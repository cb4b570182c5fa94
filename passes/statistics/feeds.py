"""Going through data, and choosing what of it to look at."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from netwright.ir.dims import shape_of
from netwright.ir.errors import DataError

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Feeds


REPEATED_BYTES = 1 << 28
"""How much data is kept in memory to go through it again."""


def feeds_of(program: Program, batches: Iterable[Feeds]) -> Iterator[dict[str, np.ndarray]]:
    """The batches without what is no input of the program (labels)."""
    names = frozenset(value.name for value in program.inputs)
    return ({name: array for name, array in batch.items() if name in names} for batch in batches)


class Repeated:
    """Data that is the same every time that it is gone through, even where its source shuffles.

    What fits into `REPEATED_BYTES` is kept; of more, a later pass that differs from the first is refused.

    Args:
        program: whose inputs the data fits; labels are left out.
        batches: the data.

    Raises:
        DataError: while iterating: the data holds no batch, or differs from what it was.
    """

    def __init__(self, program: Program, batches: Iterable[Feeds]) -> None:
        self._program = program
        self._batches = batches
        self._kept: list[dict[str, np.ndarray]] | None = None
        self._digests: list[bytes] = []

    def __len__(self) -> int:
        """How many batches there are; goes through them once where that was not done before."""
        return len(self._digests) or sum(1 for _ in self)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        if self._kept is not None:
            yield from self._kept
            return
        first, kept, used, count = not self._digests, list[dict[str, np.ndarray]](), 0, 0
        for feeds in feeds_of(self._program, self._batches):
            digest = _digest(feeds)
            if first:
                self._digests.append(digest)
                used += sum(array.nbytes for array in feeds.values())
                if used <= REPEATED_BYTES:
                    kept.append({name: np.array(array) for name, array in feeds.items()})
            elif count >= len(self._digests) or self._digests[count] != digest:
                raise DataError(
                    "The data is not the same every time that it is gone through.",
                    place=f"batch {count}",
                    remedy="Give a list, or a loader that does not shuffle.",
                )
            count += 1
            yield feeds
        if not count:
            raise DataError("The data holds no batch.", place="data", remedy="Give at least one.")
        if first and len(kept) == count:
            self._kept = kept


def _digest(feeds: Feeds) -> bytes:
    made = hashlib.blake2b(digest_size=16)
    for name in sorted(feeds):
        made.update(f"{name}{feeds[name].shape}{feeds[name].dtype}".encode())
        made.update(repr(feeds[name].tolist()).encode() if feeds[name].dtype == object else feeds[name].tobytes())
    return made.digest()


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
    for seen, piece in enumerate(cut(program, batches, rows)):
        if len(kept) < most:
            kept.append((seen, _copied(piece)))
        elif (place := int(rng.integers(seen + 1))) < most:
            kept[place] = (seen, _copied(piece))
    if not kept:
        raise DataError("The data holds no batch.", place="data", remedy="Give at least one.")
    return [piece for _, piece in sorted(kept, key=lambda entry: entry[0])]


def cut(program: Program, batches: Iterable[Feeds], rows: int) -> Iterator[dict[str, np.ndarray]]:
    """Batches of at most so many rows; whole ones where the first axis of an input is fixed, or arrays differ in their first axis."""
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
