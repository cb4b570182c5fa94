"""What orders instructions besides the values that they hand on: barriers, arrays and memory used again, layers one at a time.

Each sample begins with the same lists again: `Job.behind` holds what a job waits for in the sample before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import networkx as nx
import numpy as np

from netwright.backends.cim.cost.delays import hops_ns
from netwright.backends.cim.program.model import HOST, ChipProgram, Mvm, Reload, Sync, Unit, Write
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
    tails: dict[int, list[int]] = defaultdict(list)
    for numbers in lists.values():
        since: list[int] = []
        syncs: list[int] = []
        for number in numbers:
            one = jobs[number].one
            if syncs:
                jobs[number].after.append(syncs[-1])
            if isinstance(one, Sync):
                before[one.barrier] += since
                waiting[one.barrier].append(number)
                since = [number]
                syncs.append(number)
            else:
                since.append(number)
        for number in numbers[: numbers.index(syncs[0]) + 1] if syncs else ():
            jobs[number].behind.append(syncs[-1])
            if number == syncs[0]:
                tails[_barrier(jobs[number])] += since
    for barrier, numbers in before.items():
        tiles = [jobs[number].tile for number in waiting[barrier]]
        far = max(hops(chip.arch.network, min(tiles), tile) for tile in tiles)
        meeting = gate(jobs, numbers, 2 * hops_ns(chip.arch, far) if far else 0.0)
        jobs[meeting].behind += tails[barrier]
        for number in waiting[barrier]:
            jobs[number].after.append(meeting)


def _barrier(job: Job) -> int:
    assert isinstance(job.one, Sync)
    return job.one.barrier


def reloads(chip: ChipProgram, jobs: list[Job], lists: dict[int, list[int]]) -> None:
    """Arrays are written when no product before still uses them, and used when they are written: by this sample or the one before."""
    for numbers in lists.values():
        if not any(isinstance(jobs[number].one, Reload | Write) for number in numbers):
            continue
        users: dict[int, list[tuple[int, int]]] = defaultdict(list)
        arrays: dict[int, set[int]] = {}
        written: dict[int, tuple[int, int]] = {}
        for sample in (0, 1):
            for number in numbers:
                one, before = jobs[number].one, list[tuple[int, int]]()
                if isinstance(one, Mvm):
                    if one.unit in written:
                        before.append(written[one.unit])
                    arrays.setdefault(one.unit, _arrays(chip.units[one.unit]))
                    users[one.unit].append((sample, number))
                elif isinstance(one, Reload | Write):
                    mine = _arrays(chip.units[one.unit])
                    for unit in [unit for unit, held in arrays.items() if held & mine]:
                        before += users[unit]
                        arrays[unit] = arrays[unit] - mine
                        if not arrays[unit]:
                            del arrays[unit], users[unit]
                    written[one.unit], arrays[one.unit], users[one.unit] = (sample, number), mine, [(sample, number)]
                for then, other in before:
                    if sample == 0:
                        jobs[number].after.append(other)
                    elif then == 0:
                        jobs[number].behind.append(other)


def _arrays(unit: Unit) -> set[int]:
    return set(range(unit.first_array, unit.first_array + unit.arrays))


def addresses(chip: ChipProgram, jobs: list[Job], lists: dict[int, list[int]]) -> None:
    """A buffer at an address that another had before is written when nobody needs the other any more."""
    for shared in _shared(chip, jobs, lists):
        freed: dict[int, int] = {}
        for former, latter in shared.pairs:
            if former not in freed:
                freed[former] = gate(jobs, shared.users[former])
            jobs_here = set(shared.users[former])
            for number in shared.writers[latter]:
                if number not in jobs_here:
                    jobs[number].after.append(freed[former])


def addresses_again(chip: ChipProgram, jobs: list[Job], lists: dict[int, list[int]], senders: dict[int, int]) -> None:
    """The next sample writes a buffer when nobody needs what came to its address later; a message leaves when it may be written.

    Buffers with room for several samples share their addresses with nobody (`program.memory`).

    Args:
        chip: the program.
        jobs: all of them; gates are added.
        lists: each tile's jobs, in order.
        senders: of each job that receives.
    """
    for shared in _shared(chip, jobs, lists):
        freed: dict[int, int] = {}
        for former, latter in shared.pairs:
            if latter not in freed:
                freed[latter] = gate(jobs, shared.users[latter])
            for number in shared.writers[former]:
                jobs[number].behind.append(freed[latter])
                if number in senders:
                    jobs[senders[number]].behind.append(freed[latter])


@dataclass(frozen=True, slots=True)
class _Shared:
    """Buffers of a tile at the same addresses.

    Attributes:
        users: of each buffer, the jobs that write or read it.
        writers: the jobs that write it.
        pairs: buffers that overlap, the one used earlier first.
    """

    users: dict[int, list[int]]
    writers: dict[int, list[int]]
    pairs: list[tuple[int, int]]


def _shared(chip: ChipProgram, jobs: list[Job], lists: dict[int, list[int]]) -> Iterator[_Shared]:
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
        stops = starts + np.asarray([chip.buffers[buffer].room for buffer in order], dtype=np.int64)
        pairs = [
            (order[before], buffer)
            for place, buffer in enumerate(order)
            for before in np.flatnonzero((starts[:place] < stops[place]) & (starts[place] < stops[:place])).tolist()
        ]
        yield _Shared(users, writers, pairs)


def one_layer_at_a_time(jobs: list[Job], receivers: dict[int, int]) -> None:
    """Without pipelining a layer begins when the one before is over; layers that need each other in turn (through rings, say) are one.

    The next sample's first layer begins when this one's last is over.
    """
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
    first: list[int] = []
    for number in list(nx.lexicographical_topological_sort(order)):
        numbers = sorted(job for name in layers[number] for job in members[name])
        if last is None:
            first = numbers
        else:
            for job in numbers:
                jobs[job].after.append(last)
        last = gate(jobs, numbers)
    for job in first:
        jobs[job].behind += [] if last is None else [last]
