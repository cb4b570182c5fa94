"""What instructions move: bytes over the mesh agree with the schedule's links, weights with the bits of their coding."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netwright.backends.cim.arch import resolve
from netwright.backends.cim.arch.model import Arch, Network
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.cost.mvm import Product
from netwright.backends.cim.mapping import build
from netwright.backends.cim.program.memory import item_size
from netwright.backends.cim.program.model import ChipProgram, Instruction, Load, Reload, Send, Store, Sync, Tensor, Write
from netwright.backends.cim.program.stored import weight_bytes, weight_cells
from netwright.backends.cim.schedule import schedule
from netwright.backends.cim.simulator import Machine
from netwright.backends.cim.simulator.counting import count
from netwright.backends.cim.simulator.regions import dtype_of
from tests.backends.cim.attention import feeds, in_integers, on_crossbars
from tests.backends.cim.program import chips
from tests.backends.cim.schedule.chips import ARCH, Builder


def byte_hops(chip: ChipProgram) -> int:
    """Of one sample."""
    return sum(count(chip, tile, one).byte_hops for tile, own in chip.tiles.items() for one in own)


def kinds(chip: ChipProgram) -> set[str]:
    return {type(one).__name__ for own in chip.tiles.values() for one in own}


@st.composite
def journeys(draw: st.DrawFn) -> ChipProgram:
    """A map comes from outer memory, goes from tile to tile and out again, rows by rows; weights are reloaded here and there."""
    mesh = Network(columns=draw(st.integers(1, 4)), rows=draw(st.integers(1, 3)), header_bytes=draw(st.integers(0, 9)))
    tile = st.integers(0, mesh.columns * mesh.rows - 1)
    build = Builder(replace(ARCH, network=mesh))
    shape = (1, draw(st.integers(1, 5)), 3, draw(st.integers(1, 5)))
    name = build.tensor("x", shape, dtype=draw(st.sampled_from(["uint8", "int32", "float32"])), stream=draw(st.sampled_from([-1, 1])))
    here = draw(tile)
    held = build.load(here, name)
    for there in draw(st.lists(tile, max_size=4)):
        if there != here and all(buffer.tile != there for buffer in build.buffers):
            held, here = build.send(held, there), there
    build.store(here, held)
    for number, there in enumerate(draw(st.lists(tile, max_size=3))):
        unit = build.unit(there, draw(st.integers(1, 70)), draw(st.integers(1, 9)), f"fc{number}")
        coding = replace(build.matrices[-1].coding, weight_bits=draw(st.integers(2, 8)))
        build.matrices[-1] = replace(build.matrices[-1], coding=coding)
        build.add(there, Reload(unit))
    for there in build.tiles if draw(st.booleans()) else ():
        build.add(there, Sync(0))
    return build.build()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(chip=journeys())
def test_bytes_times_hops_are_what_the_schedules_links_carry(chip: ChipProgram) -> None:
    assert byte_hops(chip) == sum(schedule(chip).link_bytes.values())


@pytest.mark.parametrize(
    "chip", [chips.linear()[0], chips.conv()[0], chips.residual(), chips.reload()[0]], ids=lambda chip: " ".join(sorted(kinds(chip)))
)
def test_a_run_counts_what_the_links_carry(chip: ChipProgram) -> None:
    """Two samples, several tiles that load and store; `reload` has a barrier."""
    _, trace = Machine(chip, chips.on_onnxruntime).run(chips.random_feeds(chip, 2))
    assert sum(one.byte_hops for one in trace.activities.values()) == 2 * sum(schedule(chip).link_bytes.values())


SMALL = resolve("generic-28nm")
TINY = replace(
    SMALL,
    array=replace(SMALL.array, rows=8, active_rows=8, columns=32),
    tile=replace(SMALL.tile, cores=1, arrays=4),
    network=replace(SMALL.network, columns=3, rows=2),
)


def test_a_whole_model_that_does_not_fit_its_chip() -> None:
    """Attention with arrays that are written for each sample, and constant weights that are loaded in turn."""
    chip = build(on_crossbars(in_integers(TINY).program, TINY), TINY, name="block")
    assert {"Load", "Store", "Send", "Reload", "Write"} <= kinds(chip)
    _, trace = Machine(chip, chips.on_onnxruntime).run(feeds(1))
    by_kind: dict[type[Instruction], int] = dict.fromkeys((Load, Store, Send, Reload, Write), 0)
    for (tile, index), one in trace.activities.items():
        kind = type(chip.tiles[tile][index]) if tile in chip.tiles else None
        if kind in by_kind:
            by_kind[kind] += one.byte_hops
    assert sum(by_kind.values()) == sum(schedule(chip).link_bytes.values()) == sum(one.byte_hops for one in trace.activities.values())
    assert all(by_kind[kind] > 0 for kind in (Send, Reload))
    assert by_kind[Write] == 0


def test_a_message_from_outer_memory_has_a_packet_for_each_row() -> None:
    build = Builder()
    held = build.load(5, build.tensor("x", (1, 4, 3, 2)))
    build.store(5, held)
    load, store = (count(build.build(), 5, one) for one in build.tiles[5])
    assert (load.messages, load.sent_bytes, load.byte_hops) == (4, 24, 2 * (24 + 4 * ARCH.network.header_bytes))
    assert (store.messages, store.sent_bytes, store.byte_hops) == (load.messages, load.sent_bytes, load.byte_hops)


@pytest.mark.parametrize(
    ("coding", "stored"),
    [
        (Coding(rows=32), 40 * 40),
        (Coding(rows=32, weight_bits=4), 40 * 40 // 2),
        (Coding(rows=32, weight_bits=3, encoding="twos_complement", cell_bits=2), 40 * 40 * 3 // 8),
        (Coding(rows=32, weight_bits=8, encoding="twos_complement", cell_bits=2), 40 * 40),
        (Coding(rows=32, weight_bits=5, encoding="differential"), 40 * 40 * 5 // 8),
        (Coding(rows=32, weight_bits=5, encoding="differential", subtract="before", cell_bits=3), 40 * 40 * 5 // 8),
        (Coding(rows=32, input_bits=1, weight_bits=2, encoding="xnor"), 40 * 40 // 8),
    ],
)
def test_weights_are_read_by_the_bits_of_their_coding_and_written_to_all_their_cells(coding: Coding, stored: int) -> None:
    chip = chips.reload()[0]
    chip = replace(chip, matrices=tuple(replace(matrix, coding=coding) for matrix in chip.matrices))
    unit, again = chip.units[0], count(chip, 0, Reload(0))
    assert again.dram_read == weight_bytes(coding, unit) == stored
    assert again.cells_written == weight_cells(coding, unit) == 40 * Product(coding, 40, 40).columns


def test_a_chip_of_one_tile_has_no_links() -> None:
    arch: Arch = replace(ARCH, network=replace(ARCH.network, columns=1, rows=1))
    build = Builder(arch)
    build.store(0, build.load(0, build.tensor("x", (1, 4))))
    assert byte_hops(build.build()) == 0


@pytest.mark.parametrize(("dtype", "size"), [("int4", 1), ("uint4", 1), ("bool", 1), ("uint8", 1), ("bfloat16", 2), ("float32", 4)])
def test_elements_of_fewer_than_eight_bits_take_a_byte_everywhere(dtype: str, size: int) -> None:
    assert (item_size(dtype), dtype_of(Tensor("x", dtype, (1,), None)).itemsize) == (size, size)
