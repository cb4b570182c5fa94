"""Products that are not on crossbars are told of, with what they cost either way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netwright.backends.cim.arch.catalog import resolve
from netwright.backends.cim.cost.delays import mvm_ns
from netwright.backends.cim.cost.estimate import Price
from netwright.backends.cim.lowering.chips import coding_for
from netwright.backends.cim.lowering.prices import Attention
from netwright.backends.cim.mapping import build
from tests.backends.cim.mapping.graphs import Net, small_arch

FLOAT, UINT8 = 1, 2
CHIP = resolve("generic-28nm")
ROOMY = replace(CHIP, tile=replace(CHIP.tile, memory=replace(CHIP.tile.memory, bytes=2**30)))
"""Nothing is cut for want of memory."""


def attention(rows: int, *, integers: bool = False) -> list[str]:
    """What is told of the product of a value [1, rows, 8] with itself, on a chip whose arrays are fast."""
    net = Net(np.random.default_rng(11))
    y = net.product("x", 8, 8)
    scale = net.constant("scale", np.array(0.1, np.float32))
    f = net.node("DequantizeLinear", y, scale) if integers else net.node("Sqrt", net.node("DequantizeLinear", y, scale))
    z = net.node("MatMul", f, net.node("Transpose", f, perm=[0, 2, 1]))
    arch = small_arch()
    quick = replace(arch, array=replace(arch.array, cycle_ns=0.001))
    return list(build(net.program({"x": (UINT8, (1, rows, 8))}, {z: FLOAT}), quick, name="net").notes)


def test_both_ways_of_attention_are_told() -> None:
    (note,) = attention(6)
    assert str(Price(6 * 8 * 6 * 0.8, 5.0)).split(",")[0] in note
    assert f"to write {8 * 6 * 8:,} cells" in note


def test_who_would_cost_less_depends_on_the_chip_and_why_not_on_the_operands() -> None:
    (floats,) = attention(64)
    assert "the operands are floats" in floats
    (integers,) = attention(64, integers=True)
    assert "the operands are kept there" in integers


def test_the_price_of_arrays_is_that_of_writing_and_of_products() -> None:
    one = Attention(count=4, vectors=48, rows=32, outputs=40)
    unit, arrays, wrote, cells = one.prices(CHIP)
    assert cells == 4 * 32 * 40 * 8
    assert wrote.pj == pytest.approx(cells * CHIP.array.write_pj)
    assert wrote.ns == pytest.approx(32 * CHIP.array.write_ns)
    assert arrays.ns == pytest.approx(wrote.ns + 48 * mvm_ns(CHIP, coding_for(CHIP), 1))
    assert unit.pj == pytest.approx(4 * 48 * 32 * 40 * CHIP.tile.vector.pj_per_mac)
    assert arrays.pj > wrote.pj
    assert arrays.product > unit.product


def test_long_sequences_are_cheaper_in_arrays_and_short_ones_on_the_vector_unit() -> None:
    ratios = [arrays.product / unit.product for unit, arrays, _, _ in (Attention(12, n, 64, n).prices(ROOMY) for n in (8, 32, 128, 512))]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] > 1 > ratios[-1]


def test_float_weights_and_integer_weights_are_told_apart_from_attention() -> None:
    net = Net(np.random.default_rng(3))
    y = net.product("x", 8, 8)
    scale = net.constant("scale", np.array(0.1, np.float32))
    f = net.node("DequantizeLinear", y, scale)
    weight = net.node("DequantizeLinear", net.constant("held", np.ones((8, 5), np.int8)), scale)
    a = net.node("MatMul", f, weight)
    b = net.node("MatMul", f, net.constant("left", np.ones((8, 3), np.float32)))
    notes = build(net.program({"x": (UINT8, (1, 6, 8))}, {a: FLOAT, b: FLOAT}), small_arch(), name="net").notes
    floats, integers = sorted(notes, key=lambda note: "float weights" not in note)
    assert f"{6 * 8 * 3} multiply-accumulates with float weights" in floats
    assert f"{6 * 8 * 5} multiply-accumulates with integer weights" in integers


def test_what_a_memory_does_not_hold_is_cut_among_vector_units() -> None:
    one = Attention(12, 128, 64, 128)
    assert (one.tiles(ROOMY), one.tiles(CHIP)) == (1, 12)
    assert one.prices(CHIP)[0].ns == pytest.approx(one.prices(ROOMY)[0].ns / 12)
    assert one.prices(CHIP)[0].pj == one.prices(ROOMY)[0].pj
