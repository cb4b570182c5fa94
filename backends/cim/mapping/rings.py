"""How many rows each buffer keeps: all of them, as long as a tile has the memory; rings of a few where it has not.

A buffer can be a **ring** where everybody who reads it on its tile goes along row by row and waits for nothing else, and where writers and
readers are at work together; then whoever makes the rows waits for room. Since that can only make a schedule slower, it is done on tiles
that are too small otherwise, with the buffers that save most; what is left then is given back to the rings, as more rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.cost.delays import dram_latency_ns, dram_ns
from netwright.backends.cim.mapping.boxes import volume
from netwright.backends.cim.mapping.weaving import Key, Woven
from netwright.backends.cim.program.model import HOST, Tensor

ALIGN = 16
"""Buffers begin at multiples of so many bytes."""


@dataclass
class Use:
    """What is known of one buffer.

    Attributes:
        rows: along the stream axis of its tensor; 1 where there is none.
        row_bytes: bytes of one of them.
        fewest: rows that a ring needs; 0 where it cannot be one.
        ring: rows that it keeps; 0 for all.
        writers: tasks that fill it, by place in the order.
        readers: tasks that read it.
    """

    rows: int = 1
    row_bytes: int = 0
    fewest: int = 0
    ring: int = 0
    writers: list[int] = field(default_factory=list[int])
    readers: list[int] = field(default_factory=list[int])

    @property
    def size(self) -> int:
        """Bytes."""
        return (self.ring or self.rows) * self.row_bytes

    @property
    def room(self) -> int:
        """Bytes up to where the next buffer may begin."""
        return padded(self.size)

    @property
    def saving(self) -> int:
        """Bytes fewer, as the smallest ring."""
        return (self.rows - self.fewest) * self.row_bytes if self.fewest else 0


def padded(size: int) -> int:
    """Bytes up to where the next buffer may begin."""
    return -(-size // ALIGN) * ALIGN


def uses_of(
    woven: Woven, tensors: Mapping[str, Tensor], arch: Arch, *, across: bool, strict: bool = True, tight: bool = False
) -> dict[Key, Use]:
    """Every buffer's use, whole, and what ring it could be.

    Args:
        woven: the tasks.
        tensors: by name.
        arch: the chip.
        across: rings may join layers; else only what belongs to one layer.
        strict: no rings for rows that come from several places, one after the other: these would wait for each other.
        tight: rings without the row that is made while the others are read: who makes it waits until they are done with.
    """
    uses: dict[Key, Use] = {key: Use() for key in woven.boxes}
    keeps: dict[Key, list[int]] = defaultdict(list)
    for place, task in enumerate(woven.tasks):
        for part, kept in zip(task.reads, task.keeps or (0,) * len(task.reads), strict=True):
            key = (HOST if part.host else task.tile, part.tensor)
            uses[key].readers.append(place)
            keeps[key].append(kept)
        for part in task.writes:
            uses[HOST if part.host else task.tile, part.tensor].writers.append(place)
    blocks = _blocks(woven)
    for key, use in uses.items():
        tensor, box = tensors[key[1]], woven.boxes[key]
        axis = tensor.stream
        use.rows = box[axis][1] - box[axis][0] if axis >= 0 else 1
        elements = max(volume(box), blocks.get(key, 0))
        use.row_bytes = -(-elements // max(use.rows, 1)) * np.dtype(tensor.dtype).itemsize
        if key[0] == HOST or axis < 0 or not use.writers or not keeps[key] or min(keeps[key]) <= 0:
            continue
        touching = [woven.tasks[place] for place in (*use.writers, *use.readers)]
        together = len({task.phase for task in touching}) == 1 and (across or len({task.layer for task in touching}) == 1)
        in_order = not strict or all(span == box[axis] for span in _rows_made(woven, use, key[1], axis))
        fewest = max(1, max(keeps[key]) - tight) + (_on_their_way(arch, use) if any(_loads(woven, place) for place in use.writers) else 0)
        if together and in_order and fewest < use.rows:
            use.fewest = fewest
    return uses


def make_rings(uses: Mapping[Key, Use], room: int) -> None:
    """Rings on tiles whose buffers take more than there is: those that save most first; spare memory is more rows for them."""
    by_tile: dict[int, list[Use]] = defaultdict(list)
    for key, use in uses.items():
        if key[0] != HOST:
            by_tile[key[0]].append(use)
    for held in by_tile.values():
        total = sum(use.room for use in held)
        rings: list[Use] = []
        for use in sorted(held, key=lambda use: -use.saving):
            if total <= room or not use.fewest:
                break
            total -= use.room
            use.ring = use.fewest
            total += use.room
            rings.append(use)
        _grow(rings, room - total)


def _grow(rings: Sequence[Use], spare: int) -> None:
    """Twice the rows for one ring after the other, the smallest rows first, as long as there is memory."""
    waiting = sorted(rings, key=lambda use: use.row_bytes)
    while waiting:
        left: list[Use] = []
        for use in waiting:
            more = min(2 * use.ring, use.rows)
            cost = padded(more * use.row_bytes) - use.room
            if cost <= spare:
                spare -= cost
                use.ring = more if more < use.rows else 0
                left += [use] if use.ring else []
        waiting = left


def _blocks(woven: Woven) -> dict[Key, int]:
    """Elements of the blocks that a tile makes of a tensor; the last along an axis may be smaller, and takes as much."""
    found: dict[Key, int] = defaultdict(int)
    for name, places in woven.made.items():
        for tile, _ in places:
            found[tile, name] += volume(places[0][1])
    return found


def _loads(woven: Woven, place: int) -> bool:
    return any(part.host for part in woven.tasks[place].reads)


def _on_their_way(arch: Arch, use: Use) -> int:
    """Rows that outer memory can send before the first of them comes."""
    return int(dram_latency_ns(arch) / max(dram_ns(arch, use.row_bytes), 1e-9)) + 1


def _rows_made(woven: Woven, use: Use, tensor: str, axis: int) -> list[tuple[int, int]]:
    return [part.box[axis] for place in use.writers for part in woven.tasks[place].writes if part.tensor == tensor]
