"""What orders instructions besides the values that they hand on: barriers, arrays and memory used again, layers one at a time."""

from __future__ import annotations

from collections import defaultdict

import networkx as nx
import numpy as np

from netwright.backends.cim.cost.delays import hops_ns
from netwright.backends.cim.program.model import HOST, ChipProgram, Mvm, Reload, Sync, Write
from netwright.backends.cim.schedule.jobs import Job, gate
from netwright.backends.cim.schedule.mesh import hops


def barriers(chip: ChipProgram, jobs: list[Job], lists: dict[int, list[int]]) -> None:
    """A `Sync` waits for all that stands before one of its barrier, on every tile; what stands behind it waits for it.

    The tiles tell the first of them that they have come, and are told when all have: the way there and back of the farthest.

    Args:
        chip: the program.
        jobs: all of them; gates are added.
        lists: each tile's jobs, in order.
    """
    before: dict[int, list[int]] = defaultdict(list)
    waiting: dict[int, list[int]] = defaultdict(list)
    for numbers in lists.values():
        since: list[int] = []
        last: int | None = None
        for number in numbers:
            one = jobs[number].one
            if last is not None:
                jobs[number].after.append(last)
            if isinstance(one, Sync):
                before[one.barrier] += since
                waiting[one.barrier].append(number)
                since, last = [number], number
            else:
                since.append(number)
    for barrier, numbers in before.items():
        tiles = [jobs[number].tile for number in waiting[barrier]]
        far = max(hops(chip.arch.network, min(tiles), tile) for tile in tiles)
        meeting = gate(jobs, numbers, 2 * hops_ns(chip.arch, far) if far else 0.0)
        for number in waiting[barrier]:
            jobs[number].after.append(meeting)


def reloads(chip: ChipProgram, jobs: list[Job], lists: dict[int, list[int]]) -> None:
    """Arrays are written when no product before still uses them, and used when they are written."""
    for numbers in lists.values():
        users: dict[int, list[int]] = defaultdict(list)
        written: dict[int, int] = {}
        for number in numbers:
            one = jobs[number].one
            if isinstance(one, Mvm):
                if one.unit in written:
                    jobs[number].after.append(written[one.unit])
                users[one.unit].append(number)
            elif isinstance(one, Reload | Write):
                here = chip.units[one.unit]
                stop = here.first_array + here.arrays
                for unit in list(users):
                    other = chip.units[unit]
                    if other.first_array < stop and here.first_array < other.first_array + other.arrays:
                        jobs[number].after += users.pop(unit)
                written[one.unit] = number
                users[one.unit].append(number)


def addresses(chip: ChipProgram, jobs: list[Job], lists: dict[int, list[int]]) -> None:
    """A buffer at an address that another had before is written when nobody needs the other any more."""
    for tile, numbers in lists.items():
        if tile == HOST:
            continue
        users: dict[int, list[int]] = defaultdict(list)
        writers: dict[int, list[int]] = defaultdict(list)
        for number in numbers:
            stream = jobs[number].stream
            for written in stream.written:
                if chip.buffers[written.buffer].tile == tile:
                    users[written.buffer].append(number)
                    writers[written.buffer].append(number)
            for needed in stream.needed:
                if chip.buffers[needed.buffer].tile == tile:
                    users[needed.buffer].append(number)
        order = list(users)
        starts = np.asarray([chip.buffers[buffer].address for buffer in order], dtype=np.int64)
        stops = starts + np.asarray([chip.buffers[buffer].bytes for buffer in order], dtype=np.int64)
        freed: dict[int, int] = {}
        for place, buffer in enumerate(order):
            for before in np.flatnonzero((starts[:place] < stops[place]) & (starts[place] < stops[:place])).tolist():
                other = order[before]
                if other not in freed:
                    freed[other] = gate(jobs, users[other])
                jobs_here = set(users[other])
                for number in writers[buffer]:
                    if number not in jobs_here:
                        jobs[number].after.append(freed[other])


def one_layer_at_a_time(jobs: list[Job], receivers: dict[int, int]) -> None:
    """Without pipelining a layer begins when the one before is over; layers that need each other in turn (through rings, say) are one."""
    names = [(job.one.layer if job.one is not None else "") or f"#{number}" for number, job in enumerate(jobs)]
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(names)
    for name, job in zip(names, jobs, strict=True):
        graph.add_edges_from((names[other], name) for other in [*job.after, *(other for other, _ in job.waits)] if names[other] != name)
    graph.add_edges_from((names[sender], names[receiver]) for sender, receiver in receivers.items() if names[sender] != names[receiver])
    members: dict[str, list[int]] = defaultdict(list)
    for number, name in enumerate(names):
        members[name].append(number)
    position = {name: place for place, name in enumerate(graph)}
    layers: list[set[str]] = sorted(nx.strongly_connected_components(graph), key=lambda names: min(position[name] for name in names))
    group = {name: number for number, together in enumerate(layers) for name in together}
    order: nx.DiGraph[int] = nx.DiGraph()
    order.add_nodes_from(range(len(layers)))
    order.add_edges_from((group[a], group[b]) for a, b in graph.edges if group[a] != group[b])
    last: int | None = None
    for number in list(nx.lexicographical_topological_sort(order)):
        numbers = sorted(job for name in layers[number] for job in members[name])
        if last is not None:
            for job in numbers:
                jobs[job].after.append(last)
        last = gate(jobs, numbers)
