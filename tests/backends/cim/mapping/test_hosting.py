"""Products whose rows are too long for a tile's memory: rings of as few rows as will do, then the host, with the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.backends.cim.coding.model import Coding, Converter
from netwright.backends.cim.mapping import build
from netwright.backends.cim.mapping.hosting import hosted
from netwright.backends.cim.ops.schemas import DOMAIN
from netwright.backends.cim.program.model import HOST, ChipProgram, Mvm, Options
from netwright.backends.cim.program.verify import verify
from netwright.backends.cim.schedule import schedule
from netwright.ir.errors import UnsupportedModelError
from netwright.ir.program import Program
from tests.backends.cim.mapping.graphs import INT32, UINT8, Net, bytes_feed, expected, on_chip, small_arch
from tests.backends.cim.mapping.rules import check_addresses, check_layouts

WIDTH = 192
LOSSY = Coding(rows=16, converter=Converter(mode="step", bits=3, step=2))


def wide(rng: np.random.Generator, coding: Coding) -> Program:
    """Two products on few rows of many places; the sums of both are longer than their bytes."""
    net = Net(rng)
    y = net.product(net.product("x", 8, 4, coding=coding), 4, 4, coding=coding)
    return net.program({"x": (UINT8, (1, 3, WIDTH, 8))}, {y: UINT8})


def products(chip: ChipProgram) -> int:
    return len({chip.buffers[one.target].tensor.partition("#")[0] for own in chip.tiles.values() for one in own if isinstance(one, Mvm)})


def sound(chip: ChipProgram) -> None:
    verify(chip)
    check_addresses(chip)
    check_layouts(chip)
    assert schedule(chip).latency_ns > 0


@pytest.mark.parametrize("coding", [Coding(rows=16), LOSSY], ids=["lossless", "lossy"])
def test_rows_that_only_fit_one_at_a_time_wait_for_each_other(coding: Coding) -> None:
    rng = np.random.default_rng(0)
    program = wide(rng, coding)
    memory = WIDTH * (3 * 8 + 4 * 4 + 4)  # all inputs, and one row of sums and bytes
    chip = build(program, small_arch(memory=memory + 64), Options(duplicate=False), name="net")
    feeds = {"x": bytes_feed(rng, 2, 3, WIDTH, 8)}

    sound(chip)
    assert not chip.host
    assert 1 in {one.ring for one in chip.buffers if chip.tensors[one.tensor].dtype == "int32"}
    np.testing.assert_array_equal(on_chip(chip, feeds)[chip.outputs[0].name], expected(program, feeds)[chip.outputs[0].name])


def mixed(rng: np.random.Generator, coding: Coding) -> Program:
    """A convolution whose rows no tile holds, between two products that fit."""
    net = Net(rng)
    y = net.conv(net.product("x", 4, 4, coding=coding), 4, 4, coding=coding)
    m = net.node("ReduceMax", y, net.constant("axes", np.array([1, 2])), keepdims=0)
    z = net.product(m, 4, 5, scale=False, coding=coding)
    return net.program({"x": (UINT8, (1, 4, WIDTH, 4))}, {z: INT32, y: UINT8})


@pytest.mark.parametrize("coding", [Coding(rows=16), LOSSY], ids=["lossless", "lossy"])
def test_a_product_that_no_tile_has_the_memory_for_goes_to_the_host_and_is_told(coding: Coding) -> None:
    rng = np.random.default_rng(1)
    program = mixed(rng, coding)
    arch = small_arch(memory=WIDTH * 4 * 4 + 512)
    chip = build(program, arch, name="net")
    feeds = {"x": bytes_feed(rng, 3, 4, WIDTH, 4)}
    found, wanted = on_chip(chip, feeds), expected(program, feeds)

    sound(chip)
    assert chip.host
    assert 0 < products(chip) < 3
    assert any("runs on the host: Tile" in note and f"{arch.tile.memory.bytes:,}" in note for note in chip.notes)
    assert all(one.bytes <= arch.tile.memory.bytes for one in chip.buffers if one.tile != HOST)
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values)


def test_a_chip_that_could_hold_no_product_at_all_is_an_error() -> None:
    program = wide(np.random.default_rng(2), Coding(rows=16))
    with pytest.raises(UnsupportedModelError, match=r"bytes of memory, .* for %.*; small has 256"):
        build(program, small_arch(memory=256), name="net")


def test_products_are_written_out_for_the_host_alone() -> None:
    rng = np.random.default_rng(3)
    program = mixed(rng, LOSSY)
    before = [node.op_type for node in program.graph]
    sums = [node.outputs[0].name or "" for node in program.graph if node.op_type == "CrossbarMatMul"]
    after = hosted(program, {sums[1]: "there is no room"})
    feeds = {"x": bytes_feed(rng, 2, 4, WIDTH, 4)}

    assert [node.op_type for node in program.graph] == before
    assert [node.op_type for node in after.graph if node.domain == DOMAIN] == ["CrossbarMatMul", "Requantize", "CrossbarMatMul"]
    for name, values in expected(program, feeds).items():
        np.testing.assert_array_equal(expected(after, feeds)[name], values)
