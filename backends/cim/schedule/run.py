"""From a program to a timeline."""

from __future__ import annotations

from collections import defaultdict

from netwright.backends.cim.program.model import HOST, ChipProgram, Mvm, Reload, Write
from netwright.backends.cim.schedule import hazards, waits
from netwright.backends.cim.schedule.engine import Run, simulate
from netwright.backends.cim.schedule.jobs import Job, takes
from netwright.backends.cim.schedule.model import Resource, Span, Timeline
from netwright.backends.cim.schedule.plan import Key, Plan, plan_of
from netwright.backends.cim.schedule.streams import Stream, stream_of

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
    return _timeline(chip, jobs, plan, simulate(jobs, plan))


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
    return jobs, plan_of(chip, jobs, receivers)


def _timeline(chip: ChipProgram, jobs: list[Job], plan: Plan, run: Run) -> Timeline:
    spans = [
        Span(job.tile, job.index, job.one.layer, type(job.one).__name__.lower(), max(run.start[number], 0.0), run.end[number], _busy(job))
        for number, job in enumerate(jobs)
        if job.one is not None
    ]
    spans.sort(key=lambda span: (span.start_ns, span.tile, span.index))
    latency = max((span.end_ns for span in spans), default=0.0)
    resources = [Resource(key[0], key[1], _name(chip, key), run.busy[number]) for key, number in plan.resources.items()]
    resources.sort(key=lambda one: -one.busy_ns)
    interval, busiest = _interval(chip, resources, latency, spans)
    links = {(key[1], key[2]): 0 for key in plan.resources if key[0] == "link"}
    keys = list(plan.resources)
    for number, job in enumerate(jobs):
        for resource, _ in plan.way[number] or ():
            if keys[resource][0] == "link":
                links[keys[resource][1], keys[resource][2]] += job.takes.bytes * job.stream.rows
    return Timeline(latency, interval, busiest, tuple(spans), links, run.waited, tuple(resources), run.rows)


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


def _interval(chip: ChipProgram, resources: list[Resource], latency: float, spans: list[Span]) -> tuple[float, str]:
    """From one sample to the next: the busiest resource where samples overlap; else all of one, and the first weights again."""
    if any(isinstance(one, Reload) for part in chip.tiles.values() for one in part):
        return latency + _first_load_ns(chip), "arrays that are loaded again: samples cannot overlap"
    if not chip.options.pipeline or not resources:
        return latency, "one layer at a time: samples do not overlap"
    held, unit = _longest_held(chip, spans)
    if held > resources[0].busy_ns:
        return held, f"{_name(chip, ('arrays', chip.units[unit].tile, unit))}, from being written to their last product"
    return resources[0].busy_ns, resources[0].name


def _longest_held(chip: ChipProgram, spans: list[Span]) -> tuple[float, int]:
    """Arrays that are written for every sample are the next one's when this one's last product is done: the longest time, and the unit."""
    begun: dict[int, float] = {}
    held: dict[int, float] = {}
    for span in spans:
        one = None if span.tile == HOST else chip.tiles[span.tile][span.index]
        if isinstance(one, Write):
            begun[one.unit] = min(begun.get(one.unit, span.start_ns), span.start_ns)
        elif isinstance(one, Mvm) and one.unit in begun:
            held[one.unit] = max(held.get(one.unit, 0.0), span.end_ns - begun[one.unit])
    unit = max(held, key=held.__getitem__, default=-1)
    return held.get(unit, 0.0), unit


def _first_load_ns(chip: ChipProgram) -> float:
    """Time to write back, for the next sample, the weights that this one overwrote: outer memory's port, or the slowest array."""
    overwritten: dict[int, list[tuple[int, int]]] = defaultdict(list)
    again: set[int] = set()
    for part in chip.tiles.values():
        for one in part:
            if isinstance(one, Reload):
                unit = chip.units[one.unit]
                overwritten[unit.tile].append((unit.first_array, unit.first_array + unit.arrays))
                again.add(one.unit)
    port, slowest = 0.0, 0.0
    for number, unit in enumerate(chip.units):
        stop = unit.first_array + unit.arrays
        if (
            chip.matrices[unit.matrix].source
            or number in again
            or not any(low < stop and unit.first_array < high for low, high in overwritten[unit.tile])
        ):
            continue
        part = takes(chip, Reload(number), Stream(1, (), ()))
        port += part.dram_ns
        slowest = max(slowest, part.work_ns)
    return max(port, slowest)
