"""From a program to a timeline."""

from __future__ import annotations

from netwright.backends.cim.program.model import HOST, ChipProgram
from netwright.backends.cim.schedule import hazards, waits
from netwright.backends.cim.schedule.engine import Run, simulate
from netwright.backends.cim.schedule.jobs import Job, takes
from netwright.backends.cim.schedule.model import Resource, Span, Timeline
from netwright.backends.cim.schedule.plan import Key, Plan, plan_of
from netwright.backends.cim.schedule.steady import Steady, follow
from netwright.backends.cim.schedule.streams import stream_of

_WORDS = {
    "vector": "vector unit of tile {0}",
    "read": "read port of tile {0}'s memory",
    "write": "write port of tile {0}'s memory",
    "inject": "sending port of tile {0}",
    "eject": "receiving port of tile {0}",
    "link": "link {0} → {1}",
    "dram": "port to outer memory",
}


def schedule(chip: ChipProgram) -> Timeline:
    """When every instruction of a program runs, for one sample; O(rows · log instructions).

    Instructions of a tile overlap wherever their values allow; `Options.pipeline=False` runs one layer at a time. What runs on the host
    takes no time here.

    Raises:
        RunError: instructions wait for each other in a circle, a buffer is read that nothing writes, or a channel has one end only.
    """
    jobs, plan = prepare(chip)
    alone = simulate(jobs, plan)
    return _timeline(chip, jobs, plan, alone, follow(jobs, plan, alone))


def prepare(chip: ChipProgram) -> tuple[list[Job], Plan]:
    """All instructions as jobs, with what each waits for, and the same for the event loop."""
    jobs: list[Job] = []
    lists: dict[int, list[int]] = {}
    for tile, instructions in ((HOST, chip.host), *sorted(chip.tiles.items())):
        lists[tile] = list(range(len(jobs), len(jobs) + len(instructions)))
        for index, one in enumerate(instructions):
            stream = stream_of(chip, one)
            jobs.append(Job(tile, index, one, stream, takes(chip, one, stream, on_host=tile == HOST)))
    receivers = waits.channels(jobs)
    waits.values(chip, jobs)
    waits.rings(chip, jobs, receivers)
    hazards.barriers(chip, jobs, lists)
    hazards.reloads(chip, jobs, lists)
    hazards.addresses(chip, jobs, lists)
    if not chip.options.pipeline:
        hazards.one_layer_at_a_time(jobs, receivers)
    alone = len(jobs)
    senders = {receiver: sender for sender, receiver in receivers.items()}
    waits.reuse(chip, jobs, senders)
    hazards.addresses_again(chip, jobs, lists, senders)
    return jobs, plan_of(chip, jobs, receivers, alone)


def _timeline(chip: ChipProgram, jobs: list[Job], plan: Plan, run: Run, steady: Steady) -> Timeline:
    spans = [
        Span(job.tile, job.index, job.one.layer, type(job.one).__name__.lower(), max(run.start[number], 0.0), run.end[number], _busy(job))
        for number, job in enumerate(jobs[: plan.alone])
        if job.one is not None
    ]
    spans.sort(key=lambda span: (span.start_ns, span.tile, span.index))
    latency = max((span.end_ns for span in spans), default=0.0)
    resources = [Resource(key[0], key[1], _name(chip, key), run.busy[number]) for key, number in plan.resources.items()]
    resources.sort(key=lambda one: -one.busy_ns)
    links = {(key[1], key[2]): 0 for key in plan.resources if key[0] == "link"}
    keys = list(plan.resources)
    for number, job in enumerate(jobs):
        for resource, _ in plan.way[number] or ():
            if keys[resource][0] == "link":
                links[keys[resource][1], keys[resource][2]] += job.takes.bytes * job.stream.rows
    return Timeline(
        latency_ns=latency,
        interval_ns=steady.interval_ns,
        busiest=resources[0].name if resources else "",
        spans=tuple(spans),
        link_bytes=links,
        waited_ns=run.waited,
        resources=tuple(resources),
        rows=run.rows,
        samples=steady.samples,
        steady=steady.steady,
    )


def _busy(job: Job) -> float:
    """Time that an instruction's main resource worked: its unit; of what goes over ports, the slowest port."""
    part = job.takes
    return job.stream.rows * (part.work_ns or max(part.read_ns, part.write_ns, part.link_ns, part.dram_ns))


def _name(chip: ChipProgram, key: Key) -> str:
    kind, tile, detail = key
    if kind != "arrays":
        return _WORDS[kind].format(tile, detail)
    unit = chip.units[detail]
    return f"arrays of {chip.matrices[unit.matrix].layer} on tile {tile} (unit {detail})"
