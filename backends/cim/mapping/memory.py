"""Buffers: how many rows each keeps, and where it lies in its tile's memory.

A buffer is a **ring** of a few rows where everybody who reads it on its tile goes along row by row and waits for nothing else, and where
writers and readers are at work together; then whoever makes the rows waits for room. All other buffers are whole. Tasks that rings tie
together are at work at once, and so are all their buffers: two buffers may have the same address only where one tie is over, in the
order of tasks, before the other begins. That is only done on tiles that have too little memory otherwise, since it makes layers wait.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from netwright.backends.cim.mapping.tasks import Task
from netwright.backends.cim.mapping.weaving import Key, Woven
from netwright.backends.cim.program.model import HOST, Tensor

ALIGN = 16
"""Buffers begin at multiples of so many bytes."""


@dataclass
class Use:
    """What is known of one buffer.

    Attributes:
        size: bytes, with its ring.
        ring: rows that it keeps; 0 for all.
        writers: tasks that fill it, by place in the order.
        readers: tasks that read it.
    """

    size: int = 0
    ring: int = 0
    writers: list[int] = field(default_factory=list[int])
    readers: list[int] = field(default_factory=list[int])


def uses_of(woven: Woven, tensors: Mapping[str, Tensor], *, across: bool, strict: bool = True) -> dict[Key, Use]:
    """Every buffer's use, ring and size.

    Args:
        woven: the tasks.
        tensors: by name.
        across: rings may join layers; else only what belongs to one layer.
        strict: no rings for rows that come from several places, one after the other: these would wait for each other.
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
    for key, use in uses.items():
        tensor, box = tensors[key[1]], woven.boxes[key]
        axis = tensor.stream
        touching = [woven.tasks[place] for place in (*use.writers, *use.readers)]
        rows = box[axis][1] - box[axis][0] if axis >= 0 else 0
        wanted = max(keeps[key], default=0)
        together = len({task.phase for task in touching}) == 1 and (across or len({task.layer for task in touching}) == 1)
        in_order = axis >= 0 and (not strict or all(span == box[axis] for span in _rows_made(woven, use, key[1], axis)))
        if key[0] != HOST and together and in_order and use.writers and keeps[key] and min(keeps[key]) > 0 and wanted < rows:
            use.ring = wanted
        elements = prod(stop - start for start, stop in box)
        if use.ring:
            elements = elements // rows * use.ring
        use.size = elements * np.dtype(tensor.dtype).itemsize
    return uses


def _rows_made(woven: Woven, use: Use, tensor: str, axis: int) -> list[tuple[int, int]]:
    return [part.box[axis] for place in use.writers for part in woven.tasks[place].writes if part.tensor == tensor]


def addresses(woven: Woven, uses: Mapping[Key, Use], room: int) -> tuple[dict[Key, int], dict[int, int]]:
    """Where every buffer begins, and, by tile, what is wanted where that is more than there is.

    Args:
        woven: the tasks.
        uses: of the buffers.
        room: bytes of a tile's memory.
    """
    by_tile: dict[int, list[Key]] = defaultdict(list)
    for key in uses:
        by_tile[key[0]].append(key)
    spans: dict[Key, tuple[int, int]] | None = None
    found: dict[Key, int] = {}
    short: dict[int, int] = {}
    for tile, keys in by_tile.items():
        if tile == HOST:
            found |= dict.fromkeys(keys, 0)
            continue
        if sum(_padded(uses[key].size) for key in keys) <= room:
            start = 0
            for key in keys:
                found[key] = start
                start += _padded(uses[key].size)
            continue
        spans = spans if spans is not None else _spans(woven.tasks, uses)
        top = _share(keys, uses, spans, found)
        if top > room:
            short[tile] = top
    return found, short


def _padded(size: int) -> int:
    return -(-size // ALIGN) * ALIGN


def _share(keys: Sequence[Key], uses: Mapping[Key, Use], spans: Mapping[Key, tuple[int, int]], found: dict[Key, int]) -> int:
    """The largest first, each at the lowest address that is free all the time that it lives. Quadratic in a tile's buffers."""
    placed: list[Key] = []
    top = 0
    for key in sorted(keys, key=lambda key: (-uses[key].size, spans[key], key)):
        first, last = spans[key]
        taken = sorted((found[other], found[other] + _padded(uses[other].size)) for other in placed if _meets(spans[other], first, last))
        start = 0
        for low, high in taken:
            if start + uses[key].size <= low:
                break
            start = max(start, high)
        found[key] = start
        placed.append(key)
        top = max(top, start + uses[key].size)
    return top


def _meets(span: tuple[int, int], first: int, last: int) -> bool:
    return span[0] <= last and first <= span[1]


def _spans(tasks: Sequence[Task], uses: Mapping[Key, Use]) -> dict[Key, tuple[int, int]]:
    """From when to when each buffer lives: as long as anything is at work that its writers and readers are tied to."""
    parent = list(range(len(tasks)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for use in uses.values():
        if use.ring:
            for place in (*use.writers[1:], *use.readers):
                parent[root(place)] = root(use.writers[0])
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for place in range(len(tasks)):
        first.setdefault(root(place), place)
        last[root(place)] = place
    touched = {key: [root(place) for place in (*use.writers, *use.readers)] for key, use in uses.items()}
    return {key: (min(first[one] for one in roots), max(last[one] for one in roots)) for key, roots in touched.items() if roots}
