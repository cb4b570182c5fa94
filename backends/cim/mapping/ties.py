"""Tasks that are at work at once: those that wait for each other in turn.

Whoever reads waits for whoever writes; whoever writes into a ring waits for its readers, too, and whoever sends waits for room in the ring
at the other end. The strongly connected parts of that graph are groups that run together, and all their buffers with them. Between groups
waiting has one direction: in a topological order of them, a buffer may have the address of another where the last group that touches the
one comes before the first that touches the other: waiting for memory then never closes a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import networkx as nx

from netwright.backends.cim.mapping.boxes import hull, meet
from netwright.backends.cim.mapping.rings import Use
from netwright.backends.cim.mapping.tasks import Part
from netwright.backends.cim.mapping.weaving import Key, Woven
from netwright.backends.cim.program.layout import Box

_LOAD = "load"
Node: TypeAlias = int | tuple[str, int]
"""A task by its place, or a load of the arrays."""


def groups(woven: Woven, uses: Mapping[Key, Use]) -> list[int]:
    """The place of each task's group, in an order in which none waits for a later one. Each buffer's
    writers times its readers.

    Products of one load of the arrays come before those of the next; else groups stand as their first tasks do.
    """
    count = len(woven.tasks)
    graph: nx.DiGraph[Node] = nx.DiGraph()
    graph.add_nodes_from(range(count))
    for receiver, sender in woven.senders.items():
        graph.add_edge(sender, receiver)
    for (_, tensor), use in uses.items():
        made = [(writer, _box(woven.tasks[writer].writes, tensor)) for writer in use.writers]
        for reader in use.readers:
            needed = _box(woven.tasks[reader].reads, tensor)
            graph.add_edges_from((writer, reader) for writer, box in made if meet(box, needed) is not None)
        if use.ring:
            ends = [woven.senders.get(writer, writer) for writer in use.writers]
            graph.add_edges_from((use.readers[-1], end) for end in ends)
            graph.add_edges_from((use.writers[0], reader) for reader in use.readers)
            graph.add_edges_from((reader, ends[0]) for reader in use.readers)
            graph.add_edges_from((writer, use.readers[0]) for writer in use.writers)
    for task, one in enumerate(woven.tasks):
        if one.unit >= 0:
            graph.add_edges_from((((_LOAD, one.phase), task), (task, (_LOAD, one.phase + 1))))
    parts = nx.condensation(graph)
    members: Mapping[Node, int] = parts.graph["mapping"]
    first = dict.fromkeys(members.values(), -1)
    for task in range(count - 1, -1, -1):
        first[members[task]] = task
    order: Iterable[int] = nx.lexicographical_topological_sort(parts, key=first.__getitem__)
    place = {part: position for position, part in enumerate(order)}
    return [place[members[task]] for task in range(count)]


def _box(parts: Sequence[Part], tensor: str) -> Box:
    return hull(part.box for part in parts if part.tensor == tensor)
