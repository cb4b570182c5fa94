"""Whole programs: values do not depend on the mapping, and what must hold of every mapping holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.backends.cim.mapping import build
from netwright.backends.cim.program.model import HOST, Accumulate, ChipProgram, Mvm, Options, Receive, Reload, Send, Vector
from netwright.backends.cim.program.verify import verify
from netwright.backends.cim.schedule import schedule
from netwright.ir.errors import UnsupportedModelError
from tests.backends.cim.lowering.graphs import parsed
from tests.backends.cim.mapping.graphs import FLOAT, UINT8, Net, bytes_feed, expected, on_chip, residual, small_arch
from tests.backends.cim.mapping.rules import check_addresses, check_layouts


def kinds(chip: ChipProgram) -> set[str]:
    """The kinds of instructions that a program has."""
    return {type(one).__name__ for own in chip.tiles.values() for one in own}


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 2**16),
    st.sampled_from([3, 8, 17]),
    st.integers(4, 9),
    st.sampled_from([1, 3]),
    st.integers(1, 2),
    st.integers(1, 2),
    st.sampled_from([(1, 1), (2, 2), (4, 4)]),
    st.sampled_from([1, 3, 8]),
)
def test_values_do_not_depend_on_the_mapping(
    seed: int, channels: int, size: int, kernel: int, stride: int, blocks: int, tiles: tuple[int, int], arrays: int
) -> None:
    rng = np.random.default_rng(seed)
    program = residual(rng, channels=channels, size=size, kernel=kernel, stride=stride, blocks=blocks)
    feeds = {"x": bytes_feed(rng, 2, size, size, 3)}
    wanted = expected(program, feeds)
    for options in (Options(), Options(duplicate=False, pipeline=False)):
        chip = build(program, small_arch(tiles=tiles, arrays=arrays, memory=131_072), options, name="net")
        verify(chip)
        check_addresses(chip)
        check_layouts(chip)
        timeline = schedule(chip)
        assert timeline.latency_ns > 0
        found = on_chip(chip, feeds)
        for name, values in wanted.items():
            np.testing.assert_array_equal(found[name], values)


def test_a_program_is_mapped_the_same_every_time() -> None:
    first, second = (
        build(residual(np.random.default_rng(1), channels=8, size=8, kernel=3, stride=1, blocks=2), small_arch(), name="net")
        for _ in range(2)
    )
    assert first.tiles == second.tiles
    assert first.buffers == second.buffers
    assert first.units == second.units


def test_copies_make_the_slowest_layer_faster_and_use_more_arrays() -> None:
    program = residual(np.random.default_rng(2), channels=8, size=12, kernel=3, stride=1, blocks=1)
    arch = small_arch(tiles=(8, 8))
    alone, copied = (build(program, arch, Options(duplicate=duplicate), name="net") for duplicate in (False, True))
    assert all(unit.copy == 0 for unit in alone.units)
    assert max(unit.copy for unit in copied.units) > 0
    assert sum(unit.arrays for unit in copied.units) <= arch.arrays
    assert schedule(copied).interval_ns * 3 <= schedule(alone).interval_ns


def test_a_chip_that_is_too_small_writes_its_arrays_anew() -> None:
    rng = np.random.default_rng(3)
    program = residual(rng, channels=17, size=5, kernel=3, stride=1, blocks=2)
    arch = small_arch(tiles=(2, 1), arrays=16)
    chip = build(program, arch, name="net")
    assert "Reload" in kinds(chip)
    assert any("written anew" in note for note in chip.notes)
    taken: dict[tuple[int, int, int], int] = {}
    for number, unit in enumerate(chip.units):
        for array in range(unit.first_array, unit.first_array + unit.arrays):
            assert taken.setdefault((unit.phase, unit.tile, array), number) == number
    reloads = [one.unit for own in chip.tiles.values() for one in own if isinstance(one, Reload)]
    assert {unit for unit, one in enumerate(chip.units) if one.phase} <= set(reloads)


def test_a_matrix_with_more_rows_than_a_tile_is_summed_over_tiles() -> None:
    rng = np.random.default_rng(4)
    net = Net(rng)
    out = net.product("x", 150, 6)
    program = net.program({"x": (UINT8, (1, 7, 150))}, {out: UINT8})
    chip = build(program, small_arch(arrays=2), Options(duplicate=False), name="net")
    assert sum(isinstance(one, Accumulate) for own in chip.tiles.values() for one in own) == 2 * (5 - 1)
    feeds = {"x": bytes_feed(rng, 3, 7, 150)}
    np.testing.assert_array_equal(on_chip(chip, feeds)[out], expected(program, feeds)[out])


def test_weights_that_steps_share_stand_in_the_arrays_once() -> None:
    rng = np.random.default_rng(5)
    net = Net(rng)
    x = "x"
    for _ in range(4):
        x = net.product(x, 12, 12, weight="shared")
    program = net.program({"x": (UINT8, (1, 12))}, {x: UINT8})
    chip = build(program, small_arch(), name="net")
    assert len(chip.matrices) == 1
    assert len(chip.units) == 1
    assert sum(isinstance(one, Mvm) for own in chip.tiles.values() for one in own) == 4
    feeds = {"x": bytes_feed(rng, 3, 12)}
    np.testing.assert_array_equal(on_chip(chip, feeds)[x], expected(program, feeds)[x])


def test_an_input_may_be_read_by_products_and_regions_and_be_an_output_made_of_two() -> None:
    rng = np.random.default_rng(6)
    net = Net(rng)
    y = net.product("x", 8, 8)
    z = net.add("x", y)
    program = net.program({"x": (UINT8, (1, 6, 8))}, {y: UINT8, z: UINT8})
    chip = build(program, small_arch(), name="net")
    feeds = {"x": bytes_feed(rng, 2, 6, 8)}
    found, wanted = on_chip(chip, feeds), expected(program, feeds)
    for name in (y, z):
        np.testing.assert_array_equal(found[name], wanted[name])


def test_what_the_chip_cannot_run_stays_on_the_host_and_is_told() -> None:
    rng = np.random.default_rng(7)
    net = Net(rng)
    y = net.product("x", 8, 8, scale=False)
    n = net.node("Cast", y, to=FLOAT)
    u = net.node("RandomUniformLike", n, low=1.0, high=1.0 + 1e-7)
    z = net.node("Mul", n, u)
    program = net.program({"x": (UINT8, (1, 8))}, {z: FLOAT})
    chip = build(program, small_arch(), name="net")
    assert [type(one) for one in chip.host] == [Vector]
    assert any("draws random numbers" in note for note in chip.notes)
    assert "Store" in kinds(chip)
    verify(chip)


def test_a_map_that_no_tile_can_hold_is_kept_in_rings_where_rows_are_enough() -> None:
    rng = np.random.default_rng(8)
    net = Net(rng)
    y = net.conv(net.conv("x", 4, 4), 4, 4)
    program = net.program({"x": (UINT8, (1, 64, 32, 4))}, {y: UINT8})
    arch = small_arch(memory=8192, arrays=8)
    chip = build(program, arch, Options(duplicate=False), name="net")
    assert arch.tile.memory.bytes <= 64 * 32 * 4
    rings = [buffer for buffer in chip.buffers if buffer.ring]
    assert rings
    assert all(buffer.tile != HOST for buffer in rings)
    verify(chip)
    assert schedule(chip).latency_ns > 0


def test_too_little_memory_is_an_error_with_sizes() -> None:
    net = Net(np.random.default_rng(9))
    y = net.product("x", 64, 64)
    program = net.program({"x": (UINT8, (1, 64))}, {y: UINT8})
    with pytest.raises(UnsupportedModelError, match=r"bytes of memory, .* for %.*; small has 16"):
        build(program, small_arch(memory=16), name="net")


def test_every_message_is_received_once_and_after_it_is_sent() -> None:
    program = residual(np.random.default_rng(10), channels=8, size=8, kernel=3, stride=1, blocks=2)
    chip = build(program, small_arch(), name="net")
    sent = [one.channel for own in chip.tiles.values() for one in own if isinstance(one, Send)]
    taken = [one.channel for own in chip.tiles.values() for one in own if isinstance(one, Receive)]
    assert sorted(sent) == sorted(taken) == sorted(set(sent))


def test_an_input_with_a_default_is_an_error() -> None:
    """A chip takes all inputs of every sample, and has no value for one that is left out."""
    text = '<ir_version: 10, opset_import: ["" : 20]> g (float[1, 4] x) => (float[1, 4] y) { y = Mul (x, s) }'
    program = parsed(text, {"s": np.ones(4, np.float32)})
    program.graph.inputs.append(program.value("s"))
    with pytest.raises(UnsupportedModelError, match="The input %s has a default"):
        build(program, small_arch(), name="one")
