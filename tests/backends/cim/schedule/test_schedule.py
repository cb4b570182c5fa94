"""When things happen: by hand on small programs, and by what must hold of every program."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings

from netwright.backends.cim.arch.model import Memory, Network
from netwright.backends.cim.arch.model import Vector as VectorUnit
from netwright.backends.cim.program.access import reads, writes
from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.model import (
    HOST,
    Accumulate,
    ChipProgram,
    Instruction,
    Load,
    Mvm,
    Options,
    Reach,
    Receive,
    Reload,
    Requantize,
    Send,
    Store,
    Sync,
    Vector,
    Work,
)
from netwright.backends.cim.schedule import Span, Timeline, engine, schedule
from netwright.backends.cim.schedule.engine import simulate
from netwright.backends.cim.schedule.mesh import hops, route
from netwright.backends.cim.schedule.run import prepare
from netwright.ir.errors import RunError
from tests.backends.cim.schedule.chips import ARCH, Builder, chain, whole
from tests.backends.cim.schedule.programs import meet, one_product, programs, row_of

# ---- by hand -----------------------------------------------------------------------------------------------------------


def _times(line: Timeline) -> list[tuple[str, float, float]]:
    return [(span.kind, span.start_ns, span.end_ns) for span in line.spans]


def test_a_product_takes_what_its_parts_take() -> None:
    """Load: 50 of latency, then 4 cycles of outer memory's port under 5 of the router's (40 bytes with the header), 2 to write.

    Product: 8 digits of 10 ns. Requantize: one cycle of 8 lanes; its 32 bytes of sums take 2 to read. Store: 4 of set-up, 2 through the
    port (16 bytes with the header), 1 of outer memory's port, 50 of latency.
    """
    line = schedule(one_product())
    assert _times(line) == [("load", 0, 57), ("mvm", 57, 137), ("requantize", 137, 139), ("store", 139, 196)]
    assert line.latency_ns == 196
    assert (line.bound_ns, line.busiest) == (80, "arrays of fc on tile 0 (unit 0)")
    assert line.waited_ns == 0


def test_one_layer_at_a_time_takes_as_long_where_nothing_could_overlap() -> None:
    alone = schedule(replace(one_product(), options=Options(pipeline=False)))
    assert alone.latency_ns == 196
    assert alone.interval_ns == 196


def test_layers_overlap_row_byrow_of() -> None:
    """A 3×3 convolution may begin with the second row of its map, so a chain of n is little longer than one."""
    deep, one = schedule(chain(4)), schedule(chain(1))
    rows, row = 16, 16 * 80
    assert deep.latency_ns > rows * row + 3 * 2 * row
    assert deep.latency_ns < one.latency_ns + 3 * 2.4 * row
    assert deep.interval_ns == rows * row
    stopped = schedule(chain(4, pipeline=False))
    assert stopped.latency_ns > 4 * rows * row
    assert stopped.latency_ns > 2.5 * deep.latency_ns


def test_a_link_carries_messages_one_after_the_other() -> None:
    def program(*sources: int) -> Timeline:
        build = Builder()
        for tile in sources:
            x = build.buffer(tile, build.tensor(f"x{tile}", (1, 64), stream=-1))
            build.add(tile, Vector(build.region(f"r{tile}", (), (f"x{tile}",), Work(elements=8)), (), (x,), whole((1, 64))))
            build.send(x, 3, layer="move")
        return schedule(build.build())

    assert program(1).waited_ns == 0
    both = program(1, 2)
    assert both.link_bytes == {(1, 2): 72, (2, 3): 144}
    assert both.waited_ns == 7, "the head from tile 1 is at link 2 → 3 two cycles after tile 2's, which holds it for 9"


def test_rings_hold_the_writer_back() -> None:
    """A ring of 3 rows under a 3×3 kernel: row r waits until products are done with row r − 3."""
    free, held = schedule(chain(2)), schedule(chain(2, ring=3))
    loads = [next(span for span in line.spans if span.kind == "load") for line in (free, held)]
    assert loads[0].end_ns < 500
    assert loads[1].end_ns > 13 * 16 * 80
    assert held.bound_ns == free.bound_ns


def test_a_ring_too_small_is_an_error_that_names_who_waits() -> None:
    with pytest.raises(RunError, match=r"wait for each other.*Load of in.*Mvm of conv0.*more rows"):
        schedule(chain(2, ring=2))


def test_a_stride_skips_rows() -> None:
    line = schedule(chain(2, stride=2, size=16))
    mvm = [span for span in line.spans if span.kind == "mvm"]
    assert [span.busy_ns for span in mvm] == [8 * 8 * 80, 4 * 4 * 80]


def test_a_region_waits_for_the_rows_that_it_reaches() -> None:
    def latency(reaches: tuple[Reach, ...]) -> float:
        build = Builder()
        made = build.conv(0, build.load(0, build.tensor("x", (1, 16, 16, 8))), "conv", 8)
        region = build.region("pool", ("conv",), ("y",), Work(elements=8 * 8 * 8))
        build.regions[region] = replace(build.regions[region], reaches=reaches)
        build.tensor("y", (1, 8, 8, 8))
        target = build.buffer(0, "y")
        build.add(0, Vector(region, (made,), (target,), whole((1, 8, 8, 8)), "pool"))
        line = schedule(build.build())
        (pool,) = (span for span in line.spans if span.kind == "vector")
        return pool.start_ns

    row = 16 * 80
    assert latency((Reach(2, 1),)) == pytest.approx(2 * row, rel=0.1)
    assert latency((Reach(2, 7),)) == pytest.approx(8 * row, rel=0.1)
    assert latency((Reach(0, 0, whole=True),)) == pytest.approx(16 * row, rel=0.1)
    assert latency(()) == pytest.approx(16 * row, rel=0.1)


def test_reloads_wait_for_products_and_products_for_reloads() -> None:
    build = Builder()
    x = build.load(1, build.tensor("x", (1, 32), stream=-1))
    first, second = build.unit(1, 32, 8, "a"), build.unit(1, 32, 8, "b")
    build.units[second] = replace(build.units[second], first_array=0, phase=1)
    outs = [build.buffer(1, build.tensor(name, (1, 8), dtype="int32", stream=-1)) for name in ("ya", "yb")]
    box: Box = ((0, 1), (0, 8))
    build.add(1, Mvm(first, x, outs[0], box, None, "a"))
    build.add(1, Reload(second, "b"))
    build.add(1, Mvm(second, x, outs[1], box, None, "b"))
    line = schedule(build.build())
    spans = {(span.kind, span.layer): span for span in line.spans}
    assert spans["reload", "b"].start_ns == spans["mvm", "a"].end_ns
    assert spans["mvm", "b"].start_ns == spans["reload", "b"].end_ns
    took = spans["reload", "b"].end_ns - spans["reload", "b"].start_ns
    assert took == 50 + 2 + 33 + 32, "latency, a hop, 264 bytes through the router's port as they come, 32 rows of arrays"


def test_a_barrier_holds_what_stands_behind_it() -> None:
    build = Builder()
    for tile in (0, 5):
        region = build.region(f"r{tile}", (), (build.tensor(f"y{tile}", (1, 8), stream=-1),), Work(elements=80 if tile else 8))
        late = build.region(f"s{tile}", (), (build.tensor(f"z{tile}", (1, 8), stream=-1),), Work(elements=8))
        build.add(tile, Vector(region, (), (build.buffer(tile, f"y{tile}"),), whole((1, 8)), "before"))
        build.add(tile, Sync(0))
        build.add(tile, Vector(late, (), (build.buffer(tile, f"z{tile}"),), whole((1, 8)), "behind"))
    starts = {(span.tile, span.layer): span.start_ns for span in schedule(build.build()).spans}
    assert starts[0, "behind"] == starts[5, "behind"] == 10 + 2 * (4 + 2 * 2)


def test_memory_used_again_is_written_when_its_last_reader_is_over() -> None:
    def line(apart: bool) -> dict[str, Span]:
        build = Builder()
        x = build.load(0, build.tensor("x", (1, 32), stream=-1))
        unit = build.unit(0, 32, 8, "fc")
        sums = build.buffer(0, build.tensor("s", (1, 8), dtype="int32", stream=-1))
        build.add(0, Mvm(unit, x, sums, ((0, 1), (0, 8)), None, "fc"))
        build.tensor("z", (1, 32), stream=-1)
        target = build.buffer(0, "z", address=None if apart else 0)
        build.add(0, Load(build.buffer(HOST, "z"), target, whole((1, 32)), "again"))
        return {f"{span.kind} {span.layer}": span for span in schedule(build.build()).spans}

    assert line(apart=True)["load again"].start_ns == 0
    shared = line(apart=False)
    assert shared["load again"].start_ns == shared["mvm fc"].end_ns


def test_what_nothing_writes_is_an_error() -> None:
    build = Builder()
    x = build.buffer(0, build.tensor("x", (1, 8), stream=-1))
    build.store(0, x)
    with pytest.raises(RunError, match=r"Buffer 0 \(x\) is read, but nothing writes it"):
        schedule(build.build())


def test_ways_go_along_rows_first() -> None:
    mesh = Network(columns=4, rows=4)
    assert route(mesh, 1, 11) == ((1, 2), (2, 3), (3, 7), (7, 11))
    assert route(mesh, 11, 1) == ((11, 10), (10, 9), (9, 5), (5, 1))
    assert all(len(route(mesh, a, b)) == hops(mesh, a, b) for a in range(16) for b in range(16))


# ---- what must hold of every program -----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_rows_start_when_everything_that_they_read_is_there(chip: ChipProgram) -> None:
    _check_values(chip)


def _check_values(chip: ChipProgram) -> None:
    """Against boxes of single rows, worked out from instructions one row tall: nothing of the thresholds that the schedule uses."""
    jobs, plan = prepare(chip)
    run = simulate(jobs, plan, keep_rows=True)
    written: list[tuple[int, Box, float]] = []
    for number, job in enumerate(jobs):
        if job.one is not None:
            for row, end in enumerate(run.row_ends[number]):
                one = row_of(chip, job.one, row, job.stream.rows)
                written += [(buffer, box, end) for buffer, box in writes(chip, one)]
    for number, job in enumerate(jobs):
        if job.one is None or isinstance(job.one, Vector):
            continue
        for row, start in enumerate(run.row_starts[number]):
            for buffer, box in reads(chip, row_of(chip, job.one, row, job.stream.rows)):
                assert all(end <= start for other, made, end in written if other == buffer and meet(made, box)), job.place


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_latency_is_at_least_every_lower_bound(chip: ChipProgram) -> None:
    line = schedule(chip)
    assert all(line.latency_ns >= one.busy_ns for one in line.resources)
    assert all(span.end_ns - span.start_ns >= span.busy_ns - 1e-9 for span in line.spans)
    assert line.interval_ns <= line.latency_ns
    vectors: dict[int, int] = {}
    for part in chip.tiles.values():
        for one in part:
            if isinstance(one, Mvm):
                sizes = [stop - start for start, stop in one.box[:-1]]
                vectors[one.unit] = vectors.get(one.unit, 0) + sizes[0] * sizes[1] * sizes[2]
    assert all(line.latency_ns >= count * 80 for count in vectors.values())
    assert line.latency_ns >= _longest(chip)


def _longest(chip: ChipProgram) -> float:
    """The longest chain of instructions by one row of work each: what even endless resources would take. Streams are ignored: a floor."""
    made: dict[int, float] = {}
    sent: dict[int, float] = {}
    longest = 0.0
    pending = [(tile, one) for tile, part in chip.tiles.items() for one in part]
    while pending:
        later: list[tuple[int, Instruction]] = []
        for tile, one in pending:
            sources = [buffer for buffer, _ in reads(chip, one) if chip.buffers[buffer].tile != HOST]
            if any(buffer not in made for buffer in sources) or (isinstance(one, Receive) and one.channel not in sent):
                later.append((tile, one))
                continue
            begin = max((made[buffer] for buffer in sources), default=sent.get(one.channel, 0.0) if isinstance(one, Receive) else 0.0)
            end = begin + _least(one, tile)
            longest = max(longest, end)
            if isinstance(one, Send):
                sent[one.channel] = end + hops(chip.arch.network, tile, one.to) * 2
            made.update((buffer, end) for buffer, _ in writes(chip, one))
        assert len(later) < len(pending)
        pending = later
    return longest


def _least(one: Instruction, tile: int) -> float:
    if isinstance(one, Mvm):
        return (one.box[2][1] - one.box[2][0]) * 80.0
    if isinstance(one, Load | Store):
        return 50.0 + 2 * hops(ARCH.network, 0, tile)
    return 4.0 if isinstance(one, Send) else 0.0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_bytes_over_links_are_those_sent_times_hops(chip: ChipProgram) -> None:
    expected = 0
    for tile, part in chip.tiles.items():
        for one in part:
            if isinstance(one, Send | Load | Store):
                tensor = chip.tensors[chip.buffers[one.source].tensor]
                payload = 1
                for start, stop in one.box:
                    payload *= stop - start
                payload *= {"uint8": 1, "int32": 4}[tensor.dtype]
                messages = one.box[1][1] - one.box[1][0]
                far = hops(chip.arch.network, tile, one.to if isinstance(one, Send) else 0)
                expected += (payload + messages * 8) * far
    assert sum(schedule(chip).link_bytes.values()) == expected


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_units_and_rings_hold_one_thing_at_a_time(chip: ChipProgram) -> None:
    jobs, plan = prepare(chip)
    run = simulate(jobs, plan, keep_rows=True)
    taken: dict[int, list[tuple[float, float]]] = {}
    for number, job in enumerate(jobs):
        if isinstance(job.one, Mvm | Accumulate | Requantize | Vector):
            taken.setdefault(plan.unit[number], []).extend((start, start + plan.work[number]) for start in run.row_starts[number])
    for spans in taken.values():
        spans.sort()
        assert all(later[0] >= earlier[1] for earlier, later in pairwise(spans))
    _check_rings(chip)


def _check_rings(chip: ChipProgram) -> None:
    jobs, plan = prepare(chip)
    run = simulate(jobs, plan, keep_rows=True)
    for number, job in enumerate(jobs):
        for part in job.stream.written:
            ring = chip.buffers[part.buffer].ring
            readers = [other for other, one in enumerate(jobs) if any(need.buffer == part.buffer for need in one.stream.needed)]
            for row in range(ring, job.stream.rows) if ring else ():
                for other in readers:
                    reader = jobs[other]
                    if reader.one is None or isinstance(reader.one, Vector):
                        continue
                    for mine, end in enumerate(run.row_ends[other]):
                        for buffer, box in reads(chip, row_of(chip, reader.one, mine, reader.stream.rows)):
                            if buffer == part.buffer and box[1][0] <= row - ring < box[1][1]:
                                assert end <= run.row_starts[number][row], "the row that was there is read no more"


@pytest.mark.parametrize("keep", [0, 7])
def test_copies_that_all_read_what_all_write_wait_as_for_each_other(keep: int) -> None:
    """Four copies make the columns of a narrow map; three others, with a kernel of 7, read all of them, and one of these is slower."""
    wide = replace(ARCH.tile, memory=Memory(bytes=1 << 20, bytes_per_cycle=4096), vector=VectorUnit(lanes=1024))
    build = Builder(replace(ARCH, tile=wide))
    x = build.load(0, build.tensor("x", (1, 24, 4, 8)))
    first = build.conv(0, x, "a", 8, kernel=1, copies=4, keep=keep)
    build.store(0, build.conv(0, first, "b", 8, kernel=7, copies=3))
    chip = build.build()
    assert any(job.one is None for job in prepare(chip)[0]), "through a collector"
    _check_values(chip)
    _check_rings(chip)
    ends = {span.layer: span.end_ns for span in schedule(chip).spans}
    assert (ends["a"] > 0.75 * ends["b"]) == bool(keep)


def test_the_same_program_has_the_same_timeline() -> None:
    assert schedule(chain(5, ring=4)) == schedule(chain(5, ring=4))


@pytest.mark.parametrize("pipeline", [True, False])
def test_two_hundred_thousand_rows_are_a_matter_of_seconds(pipeline: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as once:
        once.setattr(engine, "COMPILED_ROWS", 0)
        schedule(chain(1))
    program = chain(64, size=700, pipeline=pipeline, arch=replace(ARCH, network=Network(columns=8, rows=8)))
    before = time.thread_time()
    line = schedule(program)
    assert line.rows > 170_000
    assert time.thread_time() - before < 5.0
