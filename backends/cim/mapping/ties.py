"""Tasks that are at work at once: those that wait for each other in turn.

Whoever reads waits for whoever writes; whoever writes into a ring waits for its readers, too, and whoever sends waits for room in the ring
at the other end. The strongly connected parts of that graph are groups that run together, and all their buffers with them. Between groups
waiting has one direction: in a topological order of them, a buffer may have the address of another where the last group that touches the
one comes before the first that touches the other: waiting for memory then never closes a circle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import product
from typing import cast

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components  # pyright: ignore[reportUnknownVariableType]

from netwright.backends.cim.mapping.boxes import hull
from netwright.backends.cim.mapping.rings import Use
from netwright.backends.cim.mapping.tasks import Part
from netwright.backends.cim.mapping.weaving import Key, Woven
from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.model import HOST

_ALL_WITH_ALL = 9
"""From so many pairs on, readers that each need all writers of a buffer wait for one thing that stands for these."""


class Ties:
    """What waits for what.

    Args:
        woven: the tasks. Each buffer's writers times its readers.
    """

    def __init__(self, woven: Woven) -> None:
        self._woven = woven
        self._nodes = len(woven.tasks)
        edges = [np.asarray([(sender, receiver) for receiver, sender in woven.senders.items()], dtype=np.int64).reshape(-1, 2)]
        edges += self._values()
        edges += [self._writings(), self._loads()]
        self._edges = np.concatenate(edges)

    def groups(self, uses: Mapping[Key, Use]) -> list[int]:
        """The place of each task's group, in an order in which none waits for a later one.

        Products of one load of the arrays come before those of the next; else groups stand as their first tasks do.

        Args:
            uses: of the buffers: whoever writes into a ring waits for its readers, too.
        """
        rings = [pair for use in uses.values() if use.ring for pair in self._ring(use)]
        edges = np.concatenate([self._edges, np.asarray(rings, dtype=np.int64).reshape(-1, 2)])
        ones = np.ones(len(edges), dtype=np.int8)
        graph = coo_array((ones, (edges[:, 0], edges[:, 1])), shape=(self._nodes, self._nodes)).tocsr()
        count, members = cast("tuple[int, np.ndarray]", connected_components(graph, directed=True, connection="strong"))
        first = np.full(count, -1, dtype=np.int64)
        tasks = len(self._woven.tasks)
        first[members[:tasks][::-1]] = np.arange(tasks)[::-1]
        between = np.unique(members[edges].astype(np.int64) @ np.asarray([count, 1]))
        place = _ordered(between[between // count != between % count], count, first.tolist())
        return [place[part] for part in members[:tasks].tolist()]

    def _values(self) -> Iterable[np.ndarray]:
        """Whoever reads waits for whoever writes."""
        writers: dict[Key, list[tuple[int, Box]]] = defaultdict(list)
        readers: dict[Key, list[tuple[int, Box]]] = defaultdict(list)
        for place, task in enumerate(self._woven.tasks):
            for side, parts in ((writers, task.writes), (readers, task.reads)):
                for key, box in _touched(task.tile, parts):
                    side[key].append((place, box))
        for key, wanted in readers.items():
            if not writers[key]:
                continue
            makers, takers = (np.asarray([place for place, _ in one], dtype=np.int64) for one in (writers[key], wanted))
            meets = _meets([box for _, box in writers[key]], [box for _, box in wanted])
            everything = meets.all(axis=0)
            if len(makers) * np.count_nonzero(everything) >= _ALL_WITH_ALL:
                yield np.stack([makers, np.full_like(makers, self._nodes)], axis=1)
                yield np.stack([np.full_like(takers[everything], self._nodes), takers[everything]], axis=1)
                self._nodes += 1
                meets[:, everything] = False
            a, b = np.nonzero(meets)
            yield np.stack([makers[a], takers[b]], axis=1)

    def _writings(self) -> np.ndarray:
        """Products wait for whoever writes their arrays, which makes nothing else."""
        found: list[tuple[int, int]] = []
        written: dict[int, int] = {}
        for place, task in enumerate(self._woven.tasks):
            if task.unit >= 0 and not task.writes:
                written[task.unit] = place
            elif task.unit in written:
                found.append((written[task.unit], place))
        return np.asarray(found, dtype=np.int64).reshape(-1, 2)

    def _loads(self) -> np.ndarray:
        """Products between the loads of the arrays before and after them."""
        found = [
            pair
            for place, task in enumerate(self._woven.tasks)
            if task.unit >= 0
            for pair in ((self._nodes + task.phase, place), (place, self._nodes + task.phase + 1))
        ]
        self._nodes += 2 + max((task.phase for task in self._woven.tasks), default=0)
        return np.asarray(found, dtype=np.int64).reshape(-1, 2)

    def _ring(self, use: Use) -> Iterable[tuple[int, int]]:
        """Writers, their senders and readers of a ring are at work together."""
        ends = [self._woven.senders.get(writer, writer) for writer in use.writers]
        yield from product(use.readers[-1:], ends)
        yield from product(use.writers[:1], use.readers)
        yield from product(use.readers, ends[:1])
        yield from product(use.writers, use.readers[:1])


def _touched(tile: int, parts: Sequence[Part]) -> Iterable[tuple[Key, Box]]:
    """The buffers that some parts lie in, and the hull of what is touched of each."""
    found: dict[Key, list[Box]] = {}
    for part in parts:
        found.setdefault((HOST if part.host else tile, part.tensor), []).append(part.box)
    return ((key, hull(boxes) if len(boxes) > 1 else boxes[0]) for key, boxes in found.items())


def _meets(writers: Sequence[Box], readers: Sequence[Box]) -> np.ndarray:
    """Which boxes have something in common, bool [writers, readers]."""
    made, read = (np.asarray(boxes, dtype=np.int64).reshape(len(boxes), -1, 2) for boxes in (writers, readers))
    found = np.ones((len(writers), len(readers)), dtype=bool)
    for axis in range(made.shape[1]):
        low = np.maximum(made[:, None, axis, 0], read[None, :, axis, 0])
        found &= low < np.minimum(made[:, None, axis, 1], read[None, :, axis, 1])
    return found


def _ordered(between: np.ndarray, count: int, first: Sequence[int]) -> list[int]:
    """The place of each group in a topological order; of those that could come next the one whose first task comes first."""
    waiting = [0] * count
    behind: list[list[int]] = [[] for _ in range(count)]
    for group, other in zip((between // count).tolist(), (between % count).tolist(), strict=True):
        behind[group].append(other)
        waiting[other] += 1
    ready = [(first[group], group) for group in range(count) if not waiting[group]]
    heapify(ready)
    place = [0] * count
    for position in range(count):
        _, group = heappop(ready)
        place[group] = position
        for other in behind[group]:
            waiting[other] -= 1
            if not waiting[other]:
                heappush(ready, (first[other], other))
    return place
