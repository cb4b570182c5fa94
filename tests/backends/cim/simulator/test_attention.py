"""Attention in arrays that are written for every sample: the same integers however it is mapped, run and counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netwright.backends.cim.arch import preset_names, resolve
from netwright.backends.cim.arch.model import Adc, Arch, Noise
from netwright.backends.cim.cost import account
from netwright.backends.cim.mapping import build
from netwright.backends.cim.program.file import from_bytes, to_bytes
from netwright.backends.cim.program.model import ChipProgram, Instruction, Mvm, Options, Reload, Write
from netwright.backends.cim.program.text import assemble, disassemble
from netwright.backends.cim.program.verify import verify
from netwright.backends.cim.schedule import schedule
from netwright.backends.cim.schedule.engine import simulate
from netwright.backends.cim.schedule.mesh import PORT, hops
from netwright.backends.cim.schedule.run import prepare
from netwright.backends.cim.simulator import Machine
from netwright.backends.cim.simulator.activity import Activity
from netwright.backends.cim.simulator.graph import GraphExecutor
from netwright.backends.onnxruntime import lower
from netwright.ir.program import Program
from tests.backends.cim.attention import feeds, in_integers, on_crossbars, one_by_one
from tests.backends.cim.program.chips import on_onnxruntime

CHIP = resolve("generic-28nm")
SMALL = replace(CHIP, name="small", tile=replace(CHIP.tile, cores=1, arrays=4), network=replace(CHIP.network, columns=3, rows=2))
ROWS = replace(SMALL.array, rows=8, active_rows=8, columns=32)
TINY = replace(SMALL, name="tiny", array=ROWS)
SPLIT = replace(TINY, name="split", tile=replace(TINY.tile, arrays=1), network=replace(CHIP.network, columns=8, rows=8))
"""A tile holds one array of 8 rows: the 12 rows of the second product are two units, whose sums are added."""


@pytest.fixture(scope="module")
def program() -> Program:
    return in_integers(CHIP).program


@pytest.fixture(scope="module")
def chip(program: Program) -> ChipProgram:
    return build(on_crossbars(program, CHIP), CHIP, name="block")


def machines(chip: ChipProgram) -> list[Machine]:
    """Ways to run a chip."""
    some = [Machine(chip, on_onnxruntime, chunk=1, threads=2), Machine(chip, on_onnxruntime, stepwise=True, chunk=2)]
    return [Machine(chip, on_onnxruntime), *some]


def writes(chip: ChipProgram) -> list[tuple[tuple[int, int], Write]]:
    return [((tile, index), one) for tile, own in chip.tiles.items() for index, one in enumerate(own) if isinstance(one, Write)]


@pytest.mark.parametrize("arch", [CHIP, SMALL, TINY, SPLIT], ids=lambda arch: arch.name)
@pytest.mark.parametrize("options", [Options(), Options(duplicate=False, pipeline=False)], ids=["usual", "plain"])
def test_every_mapping_gives_the_integers_of_onnx_runtime(program: Program, arch: Arch, options: Options) -> None:
    chip = build(on_crossbars(program, arch), arch, options, name="block")
    wanted = one_by_one(program, 3)
    for machine in machines(chip):
        outputs, trace = machine.run(feeds(3))
        np.testing.assert_array_equal(outputs["y"], wanted)
        assert not any("one by one" in reason for reason in trace.fell_back)
    assert schedule(chip).latency_ns > 0


@pytest.mark.parametrize("memory", [1024, 1280, 1536])
@pytest.mark.parametrize("pipeline", [True, False])
def test_arrays_are_written_before_their_products_where_memory_is_shared(program: Program, memory: int, pipeline: bool) -> None:
    arch = replace(SMALL, tile=replace(SMALL.tile, memory=replace(SMALL.tile.memory, bytes=memory)))
    chip = build(on_crossbars(program, arch), arch, Options(pipeline=pipeline), name="block")
    verify(chip)
    assert schedule(chip).latency_ns > 0
    np.testing.assert_array_equal(Machine(chip, on_onnxruntime).run(feeds(3))[0]["y"], one_by_one(program, 3))


def test_one_product_of_the_small_arrays_is_summed_from_two_units(program: Program) -> None:
    chip = build(on_crossbars(program, SPLIT), SPLIT, name="block")
    rows = {chip.units[one.unit].rows for _, one in writes(chip)}
    assert {(0, 8), (8, 12)} <= rows
    assert any(isinstance(one, Reload) for own in build(on_crossbars(program, TINY), TINY, name="block").tiles.values() for one in own)


@pytest.mark.parametrize("name", preset_names())
def test_every_chip_computes_as_its_graph(name: str) -> None:
    arch = resolve(name)
    lowered = on_crossbars(in_integers(arch).program, arch)
    outputs, _ = Machine(build(lowered, arch, name="block"), on_onnxruntime).run(feeds(3))
    graph = GraphExecutor(on_onnxruntime, chunk=2).execute(lowered, feeds(3))
    np.testing.assert_array_equal(outputs["y"], graph.values["y"])
    x = feeds(3)["x"]
    expanded = lower(lowered, threads=1)
    np.testing.assert_array_equal(np.concatenate([expanded.run({"x": x[n : n + 1]})["y"] for n in range(3)]), graph.values["y"])


def test_noise_does_not_depend_on_how_it_is_run(program: Program) -> None:
    adc = Adc(bits=6, step=4)
    noisy = [replace(arch, array=replace(arch.array, adc=adc, noise=Noise(conversion=2.0, cell=0.05, seed=5))) for arch in (CHIP, SMALL)]
    lowered = on_crossbars(program, noisy[0])
    wanted = GraphExecutor(on_onnxruntime, chunk=2).execute(lowered, feeds(3)).values["y"]
    assert not np.array_equal(wanted, one_by_one(program, 3))
    for arch in noisy:
        chip = build(lowered, arch, name="block")
        for machine in machines(chip):
            np.testing.assert_array_equal(machine.run(feeds(3))[0]["y"], wanted)


def total(activities: dict[tuple[int, int], Activity], figure: str) -> int:
    return sum(int(getattr(one, figure)) for one in activities.values())


def test_writes_are_counted_sample_by_sample(chip: ChipProgram) -> None:
    heads, tokens, width, bits = 4, 12, 4, 8
    assert len(writes(chip)) == 2 * heads
    _, trace = Machine(chip, on_onnxruntime).run(feeds(3))
    own = {place: trace.activities[place] for place, _ in writes(chip)}
    assert total(own, "cells_written") == total(trace.activities, "cells_written") == 3 * 2 * heads * tokens * width * bits
    assert total(own, "rows_written") == 3 * heads * (tokens + width)
    assert total(own, "read_bytes") == 3 * 2 * heads * tokens * width
    assert total(own, "dram_read") == 0
    cost = account(chip, trace, schedule(chip))
    written = sum(parts.get("writes", 0.0) for parts in cost.layers.values())
    assert written == pytest.approx(2 * heads * tokens * width * bits * CHIP.array.write_pj)
    sizes = [((u.rows[1] - u.rows[0]) * (u.columns[1] - u.columns[0]), u.tile) for u in chip.units if not chip.matrices[u.matrix].source]
    into = sum(size for size, _ in sizes) * (8 * CHIP.array.write_pj + CHIP.dram.read_pj_per_byte)
    over_mesh = sum((size + CHIP.network.header_bytes) * hops(CHIP.network, PORT, tile) for size, tile in sizes)
    assert cost.loading_pj == pytest.approx(into + over_mesh * (CHIP.network.router_pj_per_byte + CHIP.network.link_pj_per_byte))


def test_the_arrays_do_the_same_for_each_sample(chip: ChipProgram) -> None:
    both = Machine(chip, on_onnxruntime, counts="exact").run(feeds(2))[1].activities
    each = [Machine(chip, on_onnxruntime, counts="exact").run({"x": feeds(2)["x"][n : n + 1]})[1].activities for n in range(2)]
    products = [activity.mvm for activity in both.values() if activity.mvm is not None]
    alone = [activity.mvm for one in each for activity in one.values() if activity.mvm is not None]
    for figure in ("vectors", "cycles", "conversions", "rows_on", "counts", "macs"):
        assert sum(getattr(one, figure) for one in products) == sum(getattr(one, figure) for one in alone) > 0


def test_file_and_text_keep_it(chip: ChipProgram) -> None:
    wanted = Machine(chip, on_onnxruntime).run(feeds(2))[0]["y"]
    for again in (from_bytes(to_bytes(chip)), assemble(disassemble(chip), data_of=chip), assemble(disassemble(chip, data=True))):
        np.testing.assert_array_equal(Machine(again, on_onnxruntime).run(feeds(2))[0]["y"], wanted)
    assert "write unit=" in disassemble(chip)


def test_arrays_multiply_when_they_are_written_and_are_held_until_then(chip: ChipProgram) -> None:
    timeline = schedule(chip)
    spans = {(span.tile, span.index): span for span in timeline.spans}
    held: list[float] = []
    for (tile, index), one in writes(chip):
        rows = chip.units[one.unit].rows
        begun = spans[tile, index]
        assert begun.end_ns - begun.start_ns >= (rows[1] - rows[0]) * CHIP.array.write_ns
        for later, other in enumerate(chip.tiles[tile]):
            if isinstance(other, Mvm) and other.unit == one.unit:
                assert spans[tile, later].start_ns >= begun.end_ns - 1e-6
                held.append(spans[tile, later].end_ns - begun.start_ns)
    assert len(held) == 8
    assert timeline.interval_ns >= timeline.bound_ns


def test_the_next_sample_writes_arrays_when_this_ones_last_product_is_done(chip: ChipProgram) -> None:
    jobs, plan = prepare(chip)
    samples = 3
    run = simulate(jobs, plan, samples=samples, keep_rows=True)
    numbers = {(job.tile, job.index): number for number, job in enumerate(jobs) if job.one is not None}
    for (tile, index), one in writes(chip):
        begun = run.row_starts[numbers[tile, index]]
        for later, other in enumerate(chip.tiles[tile]):
            if isinstance(other, Mvm) and other.unit == one.unit:
                rows = jobs[numbers[tile, later]].stream.rows
                done = run.row_ends[numbers[tile, later]][rows - 1 :: rows]
                assert all(over <= start for over, start in zip(done[:-1], begun[1:], strict=True))


def test_notes_tell_what_is_written_and_what_it_costs(chip: ChipProgram) -> None:
    told = [note for note in chip.notes if "written to arrays for every sample" in note]
    assert len(told) == 2
    assert "4 × [4, 12]" in told[0]
    assert "on vector units" in told[0]


def test_one_unit_may_hold_one_head_after_the_other(program: Program, chip: ChipProgram) -> None:
    """As a mapping might for want of arrays: then heads follow each other."""
    (tile, _), first = writes(chip)[0]
    second = next(one for (there, _), one in writes(chip)[1:] if there == tile and one.source == first.source)

    def moved(one: Instruction) -> Instruction:
        return replace(one, unit=first.unit) if isinstance(one, Mvm | Write) and one.unit == second.unit else one

    tiles = {**chip.tiles, tile: tuple(moved(one) for one in chip.tiles[tile])}
    again = replace(chip, tiles=tiles)
    for stepwise in (False, True):
        outputs, _ = Machine(again, on_onnxruntime, stepwise=stepwise).run(feeds(3))
        np.testing.assert_array_equal(outputs["y"], one_by_one(program, 3))
    assert schedule(again).latency_ns >= schedule(chip).latency_ns
