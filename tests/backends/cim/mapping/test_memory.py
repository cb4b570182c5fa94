"""Memory: what shares addresses never waits in a circle, rings only where a tile is too small, and pipelines are never slower."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.backends.cim.cost.delays import dram_latency_ns
from netwright.backends.cim.mapping import build
from netwright.backends.cim.program.model import HOST, ChipProgram, Load, Options
from netwright.backends.cim.program.verify import verify
from netwright.backends.cim.schedule import schedule
from netwright.ir.errors import UnsupportedModelError
from netwright.ir.program import Program
from tests.backends.cim.mapping.graphs import UINT8, Net, bytes_feed, expected, on_chip, residual, small_arch
from tests.backends.cim.mapping.rules import check_addresses, check_layouts


def tones(rng: np.random.Generator, *, length: int) -> Program:
    """Convolutions of one dimension, as rows of maps that are one place wide."""
    net = Net(rng)
    x, channels = "x", 1
    for _ in range(3):
        x, channels = net.line(x, channels, 8, kernel=5), 8
    return net.program({"x": (UINT8, (1, length, 1, 1))}, {x: UINT8})


def crowded(chip: ChipProgram) -> set[int]:
    """Tiles whose buffers share addresses."""
    by_tile: dict[int, int] = {}
    for buffer in chip.buffers:
        if buffer.tile != HOST:
            by_tile[buffer.tile] = by_tile.get(buffer.tile, 0) + -(-buffer.bytes // 16) * 16
    return {tile for tile, wanted in by_tile.items() if wanted > chip.arch.tile.memory.bytes}


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**16),
    st.sampled_from([1536, 2048, 3072, 4096, 6144]),
    st.sampled_from([9, 12, 16]),
    st.integers(2, 3),
    st.sampled_from([(2, 1), (2, 2), (3, 3)]),
    st.sampled_from([4, 12]),
    st.booleans(),
)
def test_small_memories_are_shared_without_waiting_in_a_circle(
    seed: int, memory: int, size: int, blocks: int, tiles: tuple[int, int], arrays: int, pipeline: bool
) -> None:
    program = residual(np.random.default_rng(seed), channels=8, size=size, kernel=3, stride=1, blocks=blocks)
    try:
        chip = build(program, small_arch(tiles=tiles, arrays=arrays, memory=memory), Options(pipeline=pipeline), name="net")
    except UnsupportedModelError:
        return
    check_addresses(chip)
    check_layouts(chip)
    assert schedule(chip).latency_ns > 0


@pytest.mark.parametrize(("memory", "size", "blocks", "tiles", "arrays"), [(3072, 12, 2, (2, 2), 4), (2048, 9, 2, (2, 2), 4)])
@pytest.mark.parametrize("options", [Options(), Options(duplicate=False, pipeline=False)])
def test_memory_that_is_used_again_behind_rings_over_several_tiles(
    memory: int, size: int, blocks: int, tiles: tuple[int, int], arrays: int, options: Options
) -> None:
    rng = np.random.default_rng(125)
    program = residual(rng, channels=8, size=size, kernel=3, stride=1, blocks=blocks)
    chip = build(program, small_arch(tiles=tiles, arrays=arrays, memory=memory), options, name="net")
    assert crowded(chip)
    assert any(buffer.ring for buffer in chip.buffers)
    verify(chip)
    check_addresses(chip)
    check_layouts(chip)
    schedule(chip)
    feeds = {"x": bytes_feed(rng, 1, size, size, 3)}
    found = on_chip(chip, feeds)
    for name, values in expected(program, feeds).items():
        np.testing.assert_array_equal(found[name], values)


def test_no_rings_where_memory_is_not_short() -> None:
    program = residual(np.random.default_rng(1), channels=8, size=16, kernel=3, stride=1, blocks=2)
    chip = build(program, small_arch(tiles=(4, 4), memory=65_536), name="net")
    assert not any(buffer.ring for buffer in chip.buffers)
    assert not crowded(chip)


def test_rings_take_what_memory_there_is() -> None:
    program = tones(np.random.default_rng(2), length=512)
    chip = build(program, small_arch(tiles=(2, 2), memory=4096), Options(duplicate=False), name="net")
    rings = [buffer for buffer in chip.buffers if buffer.ring]
    assert rings
    for tile in {buffer.tile for buffer in rings}:
        held = sum(-(-buffer.bytes // 16) * 16 for buffer in chip.buffers if buffer.tile == tile)
        smallest = min(-(-buffer.bytes // 16) * 16 for buffer in rings if buffer.tile == tile)
        assert chip.arch.tile.memory.bytes - smallest < held <= chip.arch.tile.memory.bytes


def test_a_ring_that_outer_memory_fills_covers_its_latency() -> None:
    program = tones(np.random.default_rng(3), length=4096)
    arch = small_arch(tiles=(2, 2), memory=4096)
    chip = build(program, arch, Options(duplicate=False), name="net")
    loads = [one.target for own in chip.tiles.values() for one in own if isinstance(one, Load)]
    (first,) = [chip.buffers[number] for number in loads]
    assert 0 < first.ring < 4096
    assert first.ring * arch.clock_ns > dram_latency_ns(arch)
    timeline = schedule(chip)
    assert timeline.latency_ns < 1.05 * timeline.interval_ns


@pytest.mark.parametrize("memory", [2048, 4096, 16_384, 65_536])
@pytest.mark.parametrize("tiles", [(2, 1), (3, 3)])
def test_a_pipeline_is_never_slower(memory: int, tiles: tuple[int, int]) -> None:
    rng = np.random.default_rng(4)
    programs = [tones(rng, length=256), residual(rng, channels=8, size=12, kernel=3, stride=1, blocks=2)]
    for program in programs:
        for duplicate in (True, False):
            arch = small_arch(tiles=tiles, arrays=12, memory=memory)
            try:
                chips = [build(program, arch, Options(duplicate, pipeline), name="net") for pipeline in (True, False)]
            except UnsupportedModelError:
                continue
            piped, alone = (schedule(chip).latency_ns for chip in chips)
            assert piped <= alone, (memory, tiles, duplicate)
