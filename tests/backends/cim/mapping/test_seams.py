"""Regions that are too large for a tile: where they end, and that what is cut gives the same bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netwright.backends.cim.mapping import build
from netwright.backends.cim.mapping.regions import Piece
from netwright.backends.cim.mapping.seams import cut_to_fit
from netwright.backends.cim.program.model import ChipProgram, Vector
from netwright.backends.cim.program.verify import verify
from netwright.backends.cim.schedule import schedule
from netwright.ir.program import Program
from tests.backends.cim.mapping.graphs import FLOAT, UINT8, Net, bytes_feed, expected, on_chip, small_arch

ROWS, WIDTH = 24, 16


def normalized(rng: np.random.Generator) -> Program:
    """Rows of a product, normalized one by one, and their means."""
    net = Net(rng)
    f = net.node("Cast", net.product("x", WIDTH, WIDTH), to=FLOAT)
    scale = net.constant("scale", rng.normal(size=WIDTH).astype(np.float32))
    y = net.node("LayerNormalization", f, scale, axis=-1)
    z = net.node("Softmax", y, axis=-1)
    return net.program({"x": (UINT8, (1, ROWS, WIDTH))}, {z: FLOAT})


def parts(chip: ChipProgram) -> int:
    """The most parts that a region is cut into."""
    regions = [one.region for own in chip.tiles.values() for one in own if isinstance(one, Vector)]
    return max(regions.count(region) for region in regions)


@pytest.mark.parametrize("memory", [1024, 2048, 65_536])
def test_normalized_rows_have_the_same_bits_however_they_are_cut(memory: int) -> None:
    rng = np.random.default_rng(0)
    program = normalized(rng)
    chip = build(program, small_arch(tiles=(3, 3), memory=memory), name="net")
    verify(chip)
    assert schedule(chip).latency_ns > 0
    assert not chip.host
    feeds = {"x": bytes_feed(rng, 2, ROWS, WIDTH)}
    for name, values in expected(program, feeds).items():
        np.testing.assert_array_equal(on_chip(chip, feeds)[name], values)


def test_a_region_too_large_ends_where_all_rows_are_needed() -> None:
    net = Net(np.random.default_rng(1))
    f = net.node("Relu", net.node("Cast", net.product("x", WIDTH, WIDTH), to=FLOAT))
    mean = net.node("ReduceMean", f, net.constant("axes", np.array([1])))
    program = net.program({"x": (UINT8, (1, 64, WIDTH))}, {mean: FLOAT})
    arch = small_arch(tiles=(2, 2), memory=65_536)

    def found(memory: int) -> list[list[str]]:
        small = replace(arch, tile=replace(arch.tile, memory=replace(arch.tile.memory, bytes=memory)))
        return [[node.op_type for node in step.nodes] for step in cut_to_fit(program, small)[0].steps if isinstance(step, Piece)]

    assert found(65_536) == [["Cast", "Relu", "ReduceMean"]]
    assert found(2048) == [["Cast", "Relu"], ["ReduceMean"]]
