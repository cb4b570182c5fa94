"""Samples behind each other: how far apart they come, by hand and by what must hold of every program."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, cycle, pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netwright.backends.cim.program.access import reads, writes
from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.model import HOST, ChipProgram, Mvm, Reach, Reload, Sync, Vector, Work
from netwright.backends.cim.schedule import Timeline, engine, schedule, steady
from netwright.backends.cim.schedule.engine import simulate
from netwright.backends.cim.schedule.run import prepare
from tests.backends.cim.schedule.chips import Builder, chain, whole
from tests.backends.cim.schedule.programs import meet, one_product, programs, row_of


def _ends(chip: ChipProgram, samples: int) -> list[float]:
    jobs, plan = prepare(chip)
    return simulate(jobs, plan, samples=samples).ends


def _slow_consumer(ring: int) -> ChipProgram:
    """A map is made in rows of 1280 ns, each of which a region on the same tile takes 2560 ns to use."""
    build = Builder()
    made = build.conv(0, build.load(0, build.tensor("x", (1, 16, 16, 8))), "conv", 8, keep=ring)
    region = build.region("slow", ("conv",), (build.tensor("y", (1, 16, 16, 8)),), Work(elements=16 * 2560 * 8))
    build.regions[region] = replace(build.regions[region], reaches=(Reach(1, 0),))
    build.add(0, Vector(region, (made,), (build.buffer(0, "y"),), whole((1, 16, 16, 8)), "slow"))
    return build.build()


def _one_buffer(copies: int) -> ChipProgram:
    """Two products in turn on a whole vector that one buffer holds: the first writes all of it, then the second reads all of it."""
    build = Builder()
    x = build.load(0, build.tensor("x", (1, 32), stream=-1))
    units = build.unit(0, 32, 32, "a"), build.unit(0, 32, 32, "b")
    made = [build.buffer(0, build.tensor(name, (1, 32), dtype="int32", stream=-1)) for name in ("s", "t")]
    box: Box = ((0, 1), (0, 32))
    build.add(0, Mvm(units[0], x, made[0], box, None, "a"))
    for _ in range(copies):
        build.add(0, Mvm(units[1], made[0], made[1], box, None, "b"))
    return build.build()


def _skipping(copies: int, last_ns: int) -> ChipProgram:
    """A vector is needed again at the end of a chain of products; its buffer has room for some samples, all others for four."""
    build, box = Builder(), whole((1, 32))
    here = build.load(0, build.tensor("x", (1, 32), stream=-1))
    for step in range(20):
        source, here = here, build.buffer(0, build.tensor(f"s{step}", (1, 32), dtype="int32", stream=-1))
        build.add(0, Mvm(build.unit(0, 32, 32, f"p{step}"), source, here, box, None, f"p{step}"))
    region = build.region("end", ("s0", "s19"), (build.tensor("y", (1, 32), stream=-1),), Work(elements=8 * last_ns))
    first = next(number for number, one in enumerate(build.buffers) if one.tensor == "s0")
    build.add(0, Vector(region, (first, here), (build.buffer(0, "y"),), box, "end"))
    return _with_copies(build.build(), [copies if number == first else 4 for number in range(len(build.buffers))])


def _with_copies(chip: ChipProgram, drawn: list[int]) -> ChipProgram:
    """Buffers on tiles side by side, with these copies in turn."""
    buffers = [replace(one, copies=1 if one.tile == HOST else copies) for one, copies in zip(chip.buffers, cycle(drawn), strict=False)]
    starts = accumulate((one.room for one in buffers), initial=0)
    return replace(chip, buffers=tuple(replace(one, address=start) for one, start in zip(buffers, starts, strict=False)))


def test_a_buffer_that_two_share_makes_them_take_turns() -> None:
    """The next sample's product is written when this one's reader is over: 80 + 80 ns, though either unit works 80 ns."""
    line = schedule(_one_buffer(1))
    assert line.bound_ns == 80
    assert line.interval_ns == 160
    assert line.steady


def test_room_for_two_samples_lets_the_next_one_begin() -> None:
    """The first product writes one copy while the second reads the other: each works all the time."""
    chip = _with_copies(_one_buffer(1), [2])
    assert schedule(chip).interval_ns == schedule(chip).bound_ns == 80


@pytest.mark.parametrize("copies", [1, 2, 3, 5, 6, 8])
@pytest.mark.parametrize("last_ns", [8, 200])
def test_samples_that_come_in_bursts_are_steady_over_whole_bursts(copies: int, last_ns: int) -> None:
    """As many samples as there is room for come quickly, then the next one waits for the first of them to be done with its place."""
    chip = _skipping(copies, last_ns)
    line, ends = schedule(chip), _ends(chip, 24 + copies * 8)
    assert line.steady
    assert line.interval_ns == pytest.approx(max((ends[-1] - ends[-1 - 8 * copies]) / (8 * copies), line.bound_ns), rel=0.01)


def test_a_load_waits_for_the_last_reader_of_the_sample_before() -> None:
    """57 ns to load and 80 for the product that reads it; store and all else overlap with the next sample."""
    assert schedule(one_product()).interval_ns == 57 + 80


def test_rings_hold_the_next_sample_back_too() -> None:
    """A ring of 3 rows under a 3×3 kernel is full of one sample's rows until its last product is done."""
    free, held = schedule(chain(2)), schedule(chain(2, ring=3))
    assert free.interval_ns == free.bound_ns == 16 * 16 * 80
    assert held.bound_ns == free.bound_ns
    assert 16 * 16 * 80 + 500 < held.interval_ns < 16 * 16 * 80 + 2 * 16 * 80


def test_the_slowest_consumer_sets_the_interval() -> None:
    line = schedule(_slow_consumer(2))
    assert line.busiest == "vector unit of tile 0"
    assert line.bound_ns == 16 * (2560 + 16)
    assert line.bound_ns <= line.interval_ns < 1.01 * line.bound_ns


def test_the_next_sample_waits_at_barriers() -> None:
    """Tile 5's work behind the barrier is over before either tile's next sample goes on behind its own."""
    build = Builder()
    for tile in (0, 5):
        for name, elements in ((f"y{tile}", 8), (f"z{tile}", 800 if tile else 8)):
            region = build.region(name, (), (build.tensor(name, (1, 8), stream=-1),), Work(elements=elements))
            build.add(tile, Vector(region, (), (build.buffer(tile, name),), whole((1, 8)), name[0]))
            if name[0] == "y":
                build.add(tile, Sync(0))
    jobs, plan = prepare(build.build())
    run = simulate(jobs, plan, samples=3, keep_rows=True)
    rows = {(job.tile, type(job.one), job.one.layer): number for number, job in enumerate(jobs) if job.one is not None}
    for sample in (1, 2):
        late = run.row_ends[rows[5, Vector, "z"]][sample - 1]
        assert run.row_starts[rows[0, Vector, "z"]][sample] >= late + 2 * (4 + 2 * 2)
        assert run.row_starts[rows[0, Vector, "y"]][sample] >= run.row_ends[rows[0, Sync, ""]][sample - 1]


def _reloading(parts: tuple[tuple[int, int], ...]) -> ChipProgram:
    """Units on these arrays of tile 1, each written before its only product."""
    build = Builder()
    x = build.load(1, build.tensor("x", (1, 32), stream=-1))
    for number, (first, arrays) in enumerate(parts):
        unit = build.unit(1, 32, 8 * arrays, f"u{number}")
        build.units[unit] = replace(build.units[unit], first_array=first, phase=number)
        made = build.buffer(1, build.tensor(f"y{number}", (1, 8 * arrays), dtype="int32", stream=-1))
        build.add(1, Reload(unit, f"u{number}"))
        build.add(1, Mvm(unit, x, made, ((0, 1), (0, 8 * arrays)), None, f"u{number}"))
    return build.build()


def test_two_reloads_over_one_unit_both_wait_for_its_product() -> None:
    line = schedule(_reloading(((0, 2), (0, 1), (1, 1))))
    spans = {(span.kind, span.layer): span for span in line.spans}
    last = spans["mvm", "u0"].end_ns
    assert spans["reload", "u1"].start_ns >= last
    assert spans["reload", "u2"].start_ns >= last


def test_arrays_that_are_written_anew_are_each_samples_in_turn() -> None:
    """The next sample's first weights wait for this one's last product, as all reloads of the same arrays do: nothing overlaps."""
    line = schedule(_reloading(((0, 2), (0, 2))))
    first = next(span for span in line.spans if span.kind == "reload")
    assert first.start_ns == 0
    assert line.interval_ns == line.latency_ns > line.bound_ns


def test_memory_at_the_same_address_is_written_when_the_sample_before_is_done_with_it() -> None:
    def line(apart: bool) -> Timeline:
        build = Builder()
        x = build.load(0, build.tensor("x", (1, 32), stream=-1))
        sums = build.buffer(0, build.tensor("s", (1, 8), dtype="int32", stream=-1))
        build.add(0, Mvm(build.unit(0, 32, 8, "a"), x, sums, ((0, 1), (0, 8)), None, "a"))
        made = build.buffer(0, build.tensor("y", (1, 32), stream=-1), address=None if apart else 0)
        build.add(0, Vector(build.region("r", ("s",), ("y",), Work(elements=8 * 200)), (sums,), (made,), whole((1, 32)), "r"))
        return schedule(build.build())

    assert line(apart=True).interval_ns == 80 + 200, "through the sums' buffer"
    assert line(apart=False).interval_ns == line(apart=False).latency_ns == 57 + 80 + 200


def test_one_layer_at_a_time_samples_do_not_overlap() -> None:
    line = schedule(chain(3, pipeline=False))
    assert line.interval_ns == line.latency_ns


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_the_interval_lies_between_the_busiest_resource_and_one_sample(chip: ChipProgram) -> None:
    line = schedule(chip)
    assert line.interval_ns >= max(one.busy_ns for one in line.resources) == line.bound_ns
    assert line.interval_ns <= line.latency_ns


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_many_samples_take_a_latency_and_intervals(chip: ChipProgram) -> None:
    """To one latency, which the pipeline takes to fill and run empty, and one percent of the intervals."""
    line = schedule(chip)
    ends = _ends(chip, 24)
    assert abs(ends[-1] - (line.latency_ns + 23 * line.interval_ns)) <= line.latency_ns + 0.01 * 23 * line.interval_ns
    assert all(later > earlier for earlier, later in pairwise(ends))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs(), st.lists(st.integers(1, 3), min_size=1, max_size=7))
def test_a_samples_rows_are_written_over_when_the_one_that_had_their_place_needs_them_no_more(chip: ChipProgram, drawn: list[int]) -> None:
    """Against boxes of single rows, with some copies; and the same rows take the same order in every sample."""
    samples = 5
    chip = _with_copies(chip, drawn)
    jobs, plan = prepare(chip)
    run = simulate(jobs, plan, samples=samples, keep_rows=True)
    readers: dict[int, list[tuple[int, int, Box]]] = {}
    for number, job in enumerate(jobs):
        if job.one is None or isinstance(job.one, Vector):
            continue
        for row in range(job.stream.rows):
            for buffer, box in reads(chip, row_of(chip, job.one, row, job.stream.rows)):
                readers.setdefault(buffer, []).append((number, row, box))
    for number, job in enumerate(jobs):
        rows = job.stream.rows
        assert all(later >= earlier for earlier, later in pairwise(run.row_starts[number]))
        if job.one is None:
            continue
        for row in range(rows):
            for buffer, box in writes(chip, row_of(chip, job.one, row, rows)):
                if chip.buffers[buffer].tile == HOST:
                    continue
                copies = chip.buffers[buffer].copies
                for other, theirs, seen in readers.get(buffer, ()):
                    for sample in range(copies, samples) if meet(seen, box) else ():
                        over = run.row_ends[other][(sample - copies) * jobs[other].stream.rows + theirs]
                        assert over <= run.row_starts[number][sample * rows + row], job.place


def test_machine_code_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    chip = chain(4, ring=4)
    plain = schedule(chip)
    monkeypatch.setattr(engine, "COMPILED_ROWS", 0)
    assert schedule(chip) == plain


def test_where_no_distance_is_steady_the_middle_half_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    chip = chain(2, ring=4)
    found = schedule(chip)
    monkeypatch.setattr(steady, "CLOSE", -1.0)
    line = schedule(chip)
    assert (found.steady, line.steady) == (True, False)
    assert found.samples < line.samples == steady.MOST
    assert line.interval_ns == pytest.approx(found.interval_ns, rel=0.005)
