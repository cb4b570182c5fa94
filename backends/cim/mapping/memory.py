"""Where each buffer lies in its tile's memory.

Where a tile has room for all its buffers side by side, they lie so. Else buffers have the same address where one is over before the other
begins (`ties.py`), which makes layers wait.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netwright.backends.cim.mapping.rings import Use
from netwright.backends.cim.mapping.tasks import Task
from netwright.backends.cim.mapping.ties import groups
from netwright.backends.cim.mapping.weaving import Key, Woven
from netwright.backends.cim.program.model import HOST


@dataclass(frozen=True)
class Addresses:
    """Where buffers begin.

    Attributes:
        starts: by buffer.
        tasks: in an order in which what shares memory is not mixed.
        short: by tile, bytes wanted where that is more than there is.
    """

    starts: dict[Key, int]
    tasks: tuple[Task, ...]
    short: dict[int, int]


def addresses(woven: Woven, uses: Mapping[Key, Use], room: int) -> Addresses:
    """An address for every buffer.

    Args:
        woven: the tasks.
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
        return Addresses(found, woven.tasks, {})
    place = groups(woven, uses)
    short: dict[int, int] = {}
    for keys in crowded:
        spans = {key: _span(uses[key], place) for key in keys}
        top = _share(keys, uses, spans, found)
        if top > room:
            short[keys[0][0]] = top
    order = sorted(range(len(place)), key=lambda task: (place[task], task))
    return Addresses(found, tuple(woven.tasks[task] for task in order), short)


def _span(use: Use, place: Sequence[int]) -> tuple[int, int]:
    touching = [place[task] for task in (*use.writers, *use.readers)]
    return min(touching), max(touching)


def _share(keys: Sequence[Key], uses: Mapping[Key, Use], spans: Mapping[Key, tuple[int, int]], found: dict[Key, int]) -> int:
    """The largest first, each at the lowest address that is free all the time that it lives. Quadratic in a tile's buffers."""
    placed: list[Key] = []
    top = 0
    for key in sorted(keys, key=lambda key: (-uses[key].size, spans[key], key)):
        first, last = spans[key]
        taken = sorted((found[other], found[other] + uses[other].room) for other in placed if _meets(spans[other], first, last))
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
