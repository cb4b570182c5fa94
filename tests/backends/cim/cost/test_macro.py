"""Macros at their peak: figures measured with zigzag-imc 3.9.1's own functions, cells of no area, 8-bit weights and inputs."""

from dataclasses import replace

import pytest

from netwright.backends.cim.arch.catalog import preset, preset_names
from netwright.backends.cim.arch.model import Adc, Arch, Array
from netwright.backends.cim.cost.areas import array_areas_um2, chip_areas_mm2
from netwright.backends.cim.cost.delays import array_cycle_ns, cycle_parts_ns
from netwright.backends.cim.cost.macro import macro


def macro_of(kind: str = "analog", side: int = 128, digit_bits: int = 1, bits: int = 8) -> Arch:
    adc = Adc(bits=bits) if kind == "analog" else None
    array = Array(kind=kind, rows=side, active_rows=side, columns=8 * side, digit_bits=digit_bits, adc=adc, cell_um2=0.0)  # pyright: ignore
    return Arch(name="macro", array=array)


@pytest.mark.parametrize(
    ("arch", "tops", "per_watt", "per_mm2"),
    [
        (macro_of(digit_bits=2), 0.582, 9.62, 0.254),
        (macro_of(), None, 4.87, None),
        (macro_of(bits=6), None, 6.64, None),
        (macro_of(side=256), None, 8.95, None),
        (macro_of("digital"), 1.09, 7.49, 1.36),
        (macro_of("digital", digit_bits=2), None, 7.55, None),
    ],
)
def test_peaks_are_zigzags(arch: Arch, tops: float | None, per_watt: float, per_mm2: float | None) -> None:
    peak = macro(arch)
    for printed, ours in ((tops, peak.tops), (per_watt, peak.tops_per_watt), (per_mm2, peak.tops_per_mm2)):
        if printed is not None:
            digits = len(str(printed).split(".")[1])
            assert round(ours, digits) == printed


def test_energy_of_a_cycle_by_part() -> None:
    peak = macro(macro_of(digit_bits=2))
    printed = {"converters": 717.9, "multipliers": 37.2, "cells": 37.2, "place values": 33.1, "accumulators": 15.7, "drivers": 10.4}
    assert {name: round(part, 1) for name, part in peak.energy_pj.items()} == printed
    assert round(sum(peak.energy_pj.values()), 1) == 851.4


def test_cycle_and_area_are_zigzags() -> None:
    assert array_cycle_ns(macro_of(digit_bits=2)) == pytest.approx(14.07244, rel=1e-6)
    assert macro(macro_of()).area_mm2 == pytest.approx(2.28781, abs=5e-6)
    assert array_cycle_ns(macro_of(bits=6)) == pytest.approx(11.12, abs=5e-3)
    digital = macro(macro_of("digital"))
    assert (digital.cycle_ns, digital.area_mm2) == (pytest.approx(3.75708), pytest.approx(0.801811, abs=5e-7))


def test_shared_converters_take_turns() -> None:
    own = macro_of()
    shared = replace(own, array=replace(own.array, adc=Adc(columns=8)))
    assert cycle_parts_ns(shared)["converters"] == pytest.approx(8 * cycle_parts_ns(own)["converters"])
    assert macro(shared).area_mm2 < macro(own).area_mm2 / 5
    assert macro(shared).energy_pj == macro(own).energy_pj


def test_converters_share_of_energy_falls_with_rows() -> None:
    per_mac = [macro(macro_of(side=side)) for side in (64, 128, 256, 512, 1024)]
    converters = [peak.energy_pj["converters"] / peak.macs for peak in per_mac]
    assert converters == pytest.approx([converters[0] / 2**step for step in range(5)])


def test_voltage_and_node() -> None:
    nominal = macro_of()
    lower = macro(replace(nominal, voltage=0.6, nominal_voltage=0.9, delay_exponent=1.0))
    assert sum(lower.energy_pj.values()) == pytest.approx(sum(macro(nominal).energy_pj.values()) * (0.6 / 0.9) ** 2)
    assert lower.cycle_ns == pytest.approx(macro(nominal).cycle_ns * 1.5)
    finer = macro(replace(nominal, node_nm=14.0))
    assert finer.energy_pj["multipliers"] == pytest.approx(macro(nominal).energy_pj["multipliers"] / 2)
    assert finer.energy_pj["converters"] == macro(nominal).energy_pj["converters"]


def test_outputs_that_share_a_converter_share_its_adders() -> None:
    own = macro_of()
    shared = replace(own, array=replace(own.array, adc=Adc(columns=1024)))
    adders, whole = (array_areas_um2(arch) for arch in (shared, own))
    assert adders["place values"] == pytest.approx(whole["place values"] / 128)
    assert whole["accumulators"] / 128 < adders["accumulators"] < whole["accumulators"]


def test_memristors_and_charge_cells_are_their_own_gates() -> None:
    own = macro_of()
    assert array_areas_um2(own)["multipliers"] == pytest.approx(128 * 1024 * 0.614)
    assert "multipliers" not in array_areas_um2(replace(own, array=replace(own.array, device="rram")))
    assert "multipliers" not in array_areas_um2(replace(own, array=replace(own.array, adc=Adc(mode="charge"))))


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_has_a_cost(name: str) -> None:
    arch = preset(name)
    peak = macro(arch)
    assert 0.1 < peak.tops_per_watt < 100
    assert 1 < array_cycle_ns(arch) < 2000
    assert 1 < sum(chip_areas_mm2(arch).values()) < 1000
