"""Where each buffer lies in its tile's memory.

Where a tile has room for all its buffers side by side, they lie so. Else buffers have the same address where one is over before the other
begins (`ties.py`), which makes layers wait. What room is left, samples that follow each other get (`copying.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from netwright.backends.cim.mapping.rings import Use
from netwright.backends.cim.mapping.tasks import Task
from netwright.backends.cim.mapping.ties import Ties
from netwright.backends.cim.mapping.weaving import Key, Woven
from netwright.backends.cim.program.model import HOST

Turn: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Addresses:
    """Where buffers begin.

    Attributes:
        starts: by buffer.
        tasks: in an order in which what shares memory is not mixed.
        short: by tile, bytes wanted where that is more than there is.
        turns: of buffers that share their tile's memory, when they are first and last touched: places in a total order of groups of
            tasks. Two may have the same address where one's turn is over before the other's.
    """

    starts: dict[Key, int]
    tasks: tuple[Task, ...]
    short: dict[int, int]
    turns: dict[Key, Turn]


def addresses(woven: Woven, ties: Callable[[], Ties], uses: Mapping[Key, Use], room: int) -> Addresses:
    """An address for every buffer.

    Args:
        woven: the tasks.
        ties: between them, asked for only where a tile is too small.
        uses: of the buffers.
        room: bytes of a tile's memory.
    """
    by_tile: dict[int, list[Key]] = defaultdict(list)
    for key in uses:
        by_tile[key[0]].append(key)
    found: dict[Key, int] = dict.fromkeys(by_tile.pop(HOST, []), 0)
    crowded: list[list[Key]] = []
    for keys in by_tile.values():
        if sum(uses[key].room for key in keys) > room:
            crowded.append(keys)
            continue
        start = 0
        for key in keys:
            found[key] = start
            start += uses[key].room
    if not crowded:
        return Addresses(found, woven.tasks, {}, {})
    place = ties().groups(uses)
    short: dict[int, int] = {}
    turns: dict[Key, Turn] = {}
    for keys in crowded:
        spans = {key: _span(uses[key], place) for key in keys}
        turns |= spans
        top = _share(keys, uses, spans, found)
        if top > room:
            short[keys[0][0]] = top
    order = sorted(range(len(place)), key=lambda task: (place[task], task))
    return Addresses(found, tuple(woven.tasks[task] for task in order), short, turns)


def _span(use: Use, place: Sequence[int]) -> Turn:
    touching = [place[task] for task in (*use.writers, *use.readers)]
    return min(touching), max(touching)


def _share(keys: Sequence[Key], uses: Mapping[Key, Use], spans: Mapping[Key, Turn], found: dict[Key, int]) -> int:
    """The largest first, each at the lowest address that is free all the time that it lives. Quadratic in a tile's buffers."""
    order = sorted(keys, key=lambda key: (-uses[key].size, spans[key], key))
    begun, over, low, high = (np.zeros(len(order), dtype=np.int64) for _ in range(4))
    top = 0
    for place, key in enumerate(order):
        first, last = spans[key]
        near = np.flatnonzero((begun[:place] <= last) & (over[:place] >= first))
        taken = sorted(zip(low[near].tolist(), high[near].tolist(), strict=True))
        start = 0
        for below, above in taken:
            if start + uses[key].size <= below:
                break
            start = max(start, above)
        found[key] = start
        begun[place], over[place], low[place], high[place] = first, last, start, start + uses[key].room
        top = max(top, start + uses[key].size)
    return top
