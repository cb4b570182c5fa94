"""Matrices cut along K over several tiles: the bits of the uncut matrix, whatever conversions make of sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netwright.backends.cim.coding.model import Coding, Converter, Disturbance, Masking
from netwright.backends.cim.coding.reference import reference
from netwright.backends.cim.mapping import build
from netwright.backends.cim.program.file import from_bytes, to_bytes
from netwright.backends.cim.program.fractions import denominator_of_parts
from netwright.backends.cim.program.model import Accumulate, ChipProgram, Options
from netwright.backends.cim.program.text import assemble, disassemble
from netwright.backends.cim.program.verify import verify
from netwright.backends.cim.simulator import Machine
from netwright.ir.errors import VerifyError
from tests.backends.cim.mapping.graphs import INT32, UINT8, Net, bytes_feed, loader, small_arch
from tests.backends.cim.program.chips import with_instruction

CHARGE, RANGE = Converter(mode="charge", bits=3), Converter(mode="range", bits=3, low=1, high=12)
CODINGS = {
    "charge": Coding(rows=16, converter=CHARGE),
    "charge, masked": Coding(rows=16, converter=CHARGE, masking=Masking(granularity="plane", threshold=0.3)),
    "charge, rows masked, parasitic": Coding(rows=16, converter=CHARGE, masking=Masking(granularity="row", parasitic=128)),
    "charge, noisy": Coding(rows=16, converter=CHARGE, noise=Disturbance(conversion=0.5, cell=0.05, seed=2)),
    "range": Coding(rows=16, converter=RANGE),
    "range, two's complement": Coding(rows=16, encoding="twos_complement", converter=RANGE),
    "range, differential": Coding(rows=16, encoding="differential", cell_bits=1, converter=Converter(mode="range", bits=3, low=0, high=7)),
    "step": Coding(rows=16, converter=Converter(mode="step", bits=3, step=2)),
}


def mapped(coding: Coding, units: int) -> tuple[ChipProgram, np.ndarray]:
    """x · w, w [44, 3] cut along K into so many units, and w."""
    net = Net(np.random.default_rng(4))
    made = net.product("x", 44, 3, weight="w", scale=False, coding=coding)
    program = net.program({"x": (UINT8, (1, 5, 44))}, {made: INT32})
    arch = small_arch(arrays={1: 3, 2: 2, 3: 1}[units])
    chip = build(program, arch, Options(duplicate=False), name="cut")
    return chip, chip.matrices[0].values


@pytest.mark.parametrize("units", [1, 2, 3])
@pytest.mark.parametrize("coding", CODINGS.values(), ids=CODINGS)
def test_cut_along_k_or_not_the_bits_are_those_of_the_specification(coding: Coding, units: int):
    chip, w = mapped(coding, units)
    x = bytes_feed(np.random.default_rng(1), 1, 5, 44)
    wanted = reference(x[0], w, coding)[0]
    assert len({unit.rows for unit in chip.units}) == units
    verify(chip)

    for stepwise in (False, True):
        (found,) = Machine(chip, loader, stepwise=stepwise).run({"x": x})[0].values()
        np.testing.assert_array_equal(found[0], wanted)


def test_fractions_travel_as_numerators_and_are_divided_once():
    coding = CODINGS["charge"]
    chip, _ = mapped(coding, 3)
    parts = {one.name: one.dtype for one in chip.tensors.values() if "#" in one.name}
    sums = [one for own in chip.tiles.values() for one in own if isinstance(one, Accumulate)]

    assert len(parts) == 4
    assert set(parts.values()) == {"int64"}
    assert sorted(one.denominator for one in sums) == [1, 7]
    assert from_bytes(to_bytes(chip)).tiles == chip.tiles
    assert "denominator=7" in disassemble(chip)
    assert assemble(disassemble(chip, data=True)).tiles == chip.tiles


def test_where_nothing_is_lost_parts_are_whole_numbers():
    enough = Coding(rows=16, converter=Converter(mode="charge", bits=5))
    chip, _ = mapped(enough, 3)

    assert denominator_of_parts(44, enough) == 1
    assert {one.dtype for one in chip.tensors.values() if "#" in one.name} == {"int32"}


def test_numerators_that_nobody_divides_are_an_error():
    chip, _ = mapped(CODINGS["charge"], 2)
    ((tile, index),) = ((tile, index) for tile, own in chip.tiles.items() for index, one in enumerate(own) if isinstance(one, Accumulate))
    with pytest.raises(VerifyError, match=r"numerators over 7 that nobody has divided|are int64"):
        verify(with_instruction(chip, tile, index, denominator=1))
    with pytest.raises(VerifyError, match="divides by 5; its sources are over 7"):
        verify(with_instruction(chip, tile, index, denominator=5))
    narrow = {name: replace(one, dtype="int32") for name, one in chip.tensors.items() if one.dtype == "int64"}
    with pytest.raises(VerifyError, match="Numerators are int64"):
        verify(replace(chip, tensors={**chip.tensors, **narrow}))
