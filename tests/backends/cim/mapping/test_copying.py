"""Room for several samples: none is written over what another still needs, and samples come no slower for it."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.mapping import build, building
from netwright.backends.cim.program.access import reads, writes
from netwright.backends.cim.program.file import from_bytes, to_bytes
from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.model import HOST, ChipProgram, Instruction, Options, Reload
from netwright.backends.cim.program.text import assemble, disassemble
from netwright.backends.cim.program.verify import verify
from netwright.backends.cim.schedule import schedule
from netwright.backends.cim.schedule.engine import simulate
from netwright.backends.cim.schedule.lives import lives
from netwright.backends.cim.schedule.run import prepare
from netwright.ir.errors import UnsupportedModelError
from netwright.ir.program import Program
from tests.backends.cim.mapping.graphs import bytes_feed, expected, on_chip, residual, small_arch
from tests.backends.cim.mapping.rules import check_addresses, check_layouts
from tests.backends.cim.schedule.programs import meet, row_of

SAMPLES = 5


def once(program: Program, arch: Arch, options: Options = Options()) -> ChipProgram:  # noqa: B008
    """The program as it is mapped with every buffer there once."""
    return with_order(program, arch, options)[0]


def with_order(program: Program, arch: Arch, options: Options = Options()) -> tuple[ChipProgram, list[tuple[int, Instruction]]]:  # noqa: B008
    """The same, and its instructions in order."""
    found: list[tuple[int, Instruction]] = []

    def kept(chip: ChipProgram, order: list[tuple[int, Instruction]], turns: object) -> ChipProgram:
        found[:] = order
        return chip

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "with_copies", kept)
        return build(program, arch, options, name="net"), found


def check_samples(chip: ChipProgram) -> None:
    """Replay samples: no byte is written while a row of another buffer, or of another sample, that stands there is still needed."""
    jobs, plan = prepare(chip)
    run = simulate(jobs, plan, samples=SAMPLES, keep_rows=True)
    lives: dict[tuple[int, int], tuple[float, float]] = {}
    read: dict[int, list[tuple[int, int, Box]]] = defaultdict(list)
    made: dict[int, list[tuple[int, int, Box]]] = defaultdict(list)
    for number, job in enumerate(jobs):
        rows = job.stream.rows
        if job.one is None:
            continue
        for row in range(rows):
            one = row_of(chip, job.one, row, rows)
            for side, touched in ((read, reads(chip, one)), (made, writes(chip, one))):
                for buffer, box in touched:
                    if chip.buffers[buffer].tile == HOST:
                        continue
                    side[buffer].append((number, row, box))
                    for sample in range(SAMPLES):
                        at = sample * rows + row
                        first, last = lives.get((buffer, sample), (float("inf"), 0.0))
                        start, end = run.row_starts[number][at], run.row_ends[number][at]
                        lives[buffer, sample] = min(first, start), max(last, end)
    by_tile: dict[int, list[int]] = defaultdict(list)
    for buffer in made:
        by_tile[chip.buffers[buffer].tile].append(buffer)
    for own in by_tile.values():
        for a, b in combinations(own, 2):
            for one, other in ((n, m) for n in range(SAMPLES) for m in range(SAMPLES)):
                if _overlap(chip, (a, one), (b, other)):
                    (first, last), (begun, over) = lives[a, one], lives[b, other]
                    assert last <= begun or over <= first, (chip.buffers[a], one, chip.buffers[b], other)
    for buffer, writers in made.items():
        if chip.buffers[buffer].ring:
            continue
        lag = chip.buffers[buffer].copies
        for number, row, box in writers:
            for other, theirs, seen in read[buffer]:
                for sample in range(lag, SAMPLES) if meet(seen, box) else ():
                    over = run.row_ends[other][(sample - lag) * jobs[other].stream.rows + theirs]
                    assert over <= run.row_starts[number][sample * jobs[number].stream.rows + row], jobs[number].place


def _overlap(chip: ChipProgram, *instances: tuple[int, int]) -> bool:
    (a, b), (c, d) = (
        (start, start + one.bytes)
        for one, sample in ((chip.buffers[number], sample) for number, sample in instances)
        for start in (one.address + sample % one.copies * one.bytes,)
    )
    return a < d and c < b


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from([1024, 2048, 3072, 6144, 65_536]),
    st.integers(5, 9),
    st.integers(1, 3),
    st.sampled_from([(2, 1), (2, 2), (3, 3)]),
    st.sampled_from([4, 12]),
)
def test_nothing_is_written_over_that_is_needed_and_samples_come_no_slower(
    seed: int, memory: int, size: int, blocks: int, tiles: tuple[int, int], arrays: int
) -> None:
    """To five percent: rows that meet at ports and links in another order can take a little longer."""
    program = residual(np.random.default_rng(seed), channels=8, size=size, kernel=3, stride=1, blocks=blocks)
    arch = small_arch(tiles=tiles, arrays=arrays, memory=memory)
    try:
        chip = build(program, arch, name="net")
    except UnsupportedModelError:
        return
    before = once(program, arch)
    verify(chip)
    check_addresses(chip)
    check_layouts(chip)
    check_samples(chip)
    assert [type(one) for own in chip.tiles.values() for one in own] == [type(one) for own in before.tiles.values() for one in own]
    now, then = schedule(chip), schedule(before)
    assert now.interval_ns <= 1.05 * then.interval_ns
    assert now.latency_ns <= 1.05 * then.latency_ns


def gained() -> tuple[Program, Arch]:
    """Samples that wait for a map that is added to what is made of it."""
    return residual(np.random.default_rng(3), channels=8, size=6, kernel=3, stride=1, blocks=1), small_arch(tiles=(3, 3), arrays=12)


def test_copies_let_samples_come_faster_and_change_nothing_within_one() -> None:
    program, arch = gained()
    chip, before = build(program, arch, name="net"), once(program, arch)
    now, then = schedule(chip), schedule(before)
    assert max(buffer.copies for buffer in chip.buffers) > 1
    assert now.interval_ns < 0.7 * then.interval_ns
    assert (now.latency_ns, now.spans, now.bound_ns) == (then.latency_ns, then.spans, then.bound_ns)
    feeds = {"x": bytes_feed(np.random.default_rng(0), 1, 6, 6, 3)}
    wanted = expected(program, feeds)
    for stepwise in (True, False):
        for name, values in on_chip(chip, feeds, stepwise=stepwise).items():
            np.testing.assert_array_equal(values, wanted[name])


def test_copies_are_in_the_file_and_in_the_text() -> None:
    chip = build(*gained(), name="net")
    copies = [buffer.copies for buffer in chip.buffers]
    assert [buffer.copies for buffer in from_bytes(to_bytes(chip)).buffers] == copies
    assert [buffer.copies for buffer in assemble(disassemble(chip, data=True)).buffers] == copies
    assert "copies=2" in disassemble(chip)


def test_none_where_samples_do_not_overlap() -> None:
    program, arch = gained()
    assert {buffer.copies for buffer in build(program, arch, Options(pipeline=False), name="net").buffers} == {1}
    small = small_arch(tiles=(1, 1), arrays=4)
    chip = build(program, small, name="net")
    assert any(isinstance(one, Reload) for own in chip.tiles.values() for one in own)
    assert chip.buffers == once(program, small).buffers


@pytest.mark.parametrize("size", [6, 9])
def test_lives_are_about_those_of_the_schedule(size: int) -> None:
    program, arch = residual(np.random.default_rng(1), channels=8, size=size, kernel=3, stride=1, blocks=2), small_arch(tiles=(3, 3))
    chip, order = with_order(program, arch)
    found, line = lives(chip, order), schedule(chip)
    assert found.busiest_ns == pytest.approx(line.bound_ns)
    assert 0.6 * line.latency_ns < found.latency_ns < 1.1 * line.latency_ns
    assert all(0 <= life.first_ns <= life.over_ns <= found.latency_ns for life in found.lives.values())
    assert all(0 <= life.held_ns <= life.over_ns - life.first_ns + 1e-6 for life in found.lives.values())
