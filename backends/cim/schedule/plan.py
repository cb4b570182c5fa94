"""Jobs as lists by number, with a number for every resource."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from netwright.backends.cim.cost.delays import dram_latency_ns
from netwright.backends.cim.program.model import HOST, Accumulate, ChipProgram, Load, Mvm, Reload, Requantize, Send, Store, Vector, Write
from netwright.backends.cim.schedule.jobs import Job
from netwright.backends.cim.schedule.mesh import PORT, route
from netwright.backends.cim.schedule.model import ResourceKind

NONE = -1
Key = tuple[ResourceKind, int, int]
Way = tuple[tuple[int, float], ...]
"""Resources that a message's head comes to, and the time from each to the next."""


@dataclass(frozen=True, slots=True)
class Waits:
    """What the rows of a job wait for, by row, int64 [waits].

    Attributes:
        row: that waits.
        job: for which.
        rows: how many of its rows must be there, counted from its first of the same sample: less than one are of samples before.
    """

    row: np.ndarray
    job: np.ndarray
    rows: np.ndarray


@dataclass(slots=True)
class Plan:
    """Everything by job number.

    Attributes:
        alone: the first so many jobs are one sample's; the others make the next one wait.
        rows: of each job.
        waits: before each row, jobs and how many of their rows must be there, where that is more than for the row before.
        after: jobs wanted whole.
        behind: jobs of the sample before wanted whole.
        receivers: of each sender.
        resources: number by kind, tile and detail (a unit, the link's end).
        unit: arrays or vector unit.
        work: time of a row there; of a reload, 0.
        cells: of a reload, the time of writing.
        reader: the read port.
        read: time of a row there.
        writer: the write port.
        write: time of a row there.
        way: over the network; None for jobs that stay on their tile.
        link: time that a row holds each part of the way.
        port: time that a row holds outer memory's port.
        from_dram: whether rows begin there.
        to_dram: whether rows end there.
        dram: outer memory's port.
        latency: of outer memory.
        setup: of a message.
    """

    dram: int
    latency: float
    setup: float
    resources: dict[Key, int]
    alone: int = 0
    rows: list[int] = field(default_factory=list[int])
    waits: list[Waits] = field(default_factory=list[Waits])
    after: list[list[int]] = field(default_factory=list[list[int]])
    behind: list[list[int]] = field(default_factory=list[list[int]])
    receivers: dict[int, int] = field(default_factory=dict[int, int])
    unit: list[int] = field(default_factory=list[int])
    work: list[float] = field(default_factory=list[float])
    cells: list[float] = field(default_factory=list[float])
    reader: list[int] = field(default_factory=list[int])
    read: list[float] = field(default_factory=list[float])
    writer: list[int] = field(default_factory=list[int])
    write: list[float] = field(default_factory=list[float])
    way: list[Way | None] = field(default_factory=list["Way | None"])
    link: list[float] = field(default_factory=list[float])
    port: list[float] = field(default_factory=list[float])
    from_dram: list[bool] = field(default_factory=list[bool])
    to_dram: list[bool] = field(default_factory=list[bool])

    def resource(self, kind: ResourceKind, tile: int, detail: int = 0) -> int:
        """Its number; new ones are added."""
        return self.resources.setdefault((kind, tile, detail), len(self.resources))


def plan_of(chip: ChipProgram, jobs: list[Job], receivers: dict[int, int], alone: int) -> Plan:
    """Number all resources and write all jobs down; the first `alone` of them are one sample's."""
    setup = chip.arch.network.setup_cycles * chip.arch.clock_ns
    plan = Plan(0, dram_latency_ns(chip.arch), setup, {("dram", PORT, 0): 0}, alone, receivers=receivers)
    for job in jobs:
        one, takes = job.one, job.takes
        plan.rows.append(job.stream.rows)
        plan.waits.append(_by_row(jobs, job))
        plan.after.append(list(dict.fromkeys(job.after)))
        plan.behind.append(list(dict.fromkeys(job.behind)))
        plan.unit.append(_unit(plan, job))
        plan.work.append(0.0 if isinstance(one, Reload) else takes.work_ns)
        plan.cells.append(takes.work_ns if isinstance(one, Reload) else 0.0)
        plan.reader.append(plan.resource("read", job.tile) if takes.read_ns > 0 and job.tile != HOST else NONE)
        plan.read.append(takes.read_ns)
        plan.writer.append(plan.resource("write", job.tile) if takes.write_ns > 0 and job.tile != HOST else NONE)
        plan.write.append(takes.write_ns)
        plan.way.append(_way(plan, chip, job))
        plan.link.append(takes.link_ns)
        plan.port.append(takes.dram_ns)
        plan.from_dram.append(isinstance(one, Load | Reload))
        plan.to_dram.append(isinstance(one, Store))
    return plan


def _by_row(jobs: list[Job], job: Job) -> Waits:
    """What is new to wait for at each row: what a row before has waited for is there."""
    found = [(np.empty(0, np.int64),) * 3]
    for (other, counts), before in chain(((wait, 0) for wait in job.waits), job.again):
        most = np.maximum.accumulate(counts)
        risen = np.flatnonzero(np.diff(most, prepend=0) > 0)
        found.append((risen, np.full(len(risen), other), most[risen] - before * jobs[other].stream.rows))
    row, other, rows = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(row, kind="stable")
    return Waits(row[order], other[order], rows[order])


def _unit(plan: Plan, job: Job) -> int:
    if isinstance(job.one, Mvm | Reload | Write):
        return plan.resource("arrays", job.tile, job.one.unit)
    if isinstance(job.one, Accumulate | Requantize | Vector) and job.tile != HOST:
        return plan.resource("vector", job.tile)
    return NONE


def _way(plan: Plan, chip: ChipProgram, job: Job) -> Way | None:
    """Out of the tile's port, over links, into the other tile's port. Outer memory is beside its tile's router."""
    one = job.one
    if not isinstance(one, Send | Load | Store | Reload):
        return None
    start = PORT if isinstance(one, Load | Reload) else job.tile
    end = one.to if isinstance(one, Send) else PORT if isinstance(one, Store) else job.tile
    delay = chip.arch.network.hop_cycles * chip.arch.clock_ns
    links = [(plan.resource("link", a, b), delay) for a, b in route(chip.arch.network, start, end)]
    out = [] if isinstance(one, Load | Reload) else [(plan.resource("inject", start), 0.0)]
    into = [] if isinstance(one, Store) else [(plan.resource("eject", end), 0.0)]
    return (*out, *links, *into)
