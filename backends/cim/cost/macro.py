"""A macro at its peak: every row and column used, every bit 1. What papers and other models report, to compare with.

TOPS count two operations for a multiply-accumulate of full-width inputs and weights, TOPS/W without input and output registers,
memories or network, as zigzag-imc does.
"""

from __future__ import annotations

from dataclasses import dataclass

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.cost.adc import conversion, row_pj
from netwright.backends.cim.cost.areas import array_areas_um2, multipliers
from netwright.backends.cim.cost.delays import array_cycle_ns
from netwright.backends.cim.cost.shape import periphery
from netwright.backends.cim.cost.units import capacitor_pj, gates

LOGIC = ("cells", "converters", "multipliers", "adder trees", "place values", "accumulators")
"""Components of a macro's area in zigzag-imc's accounts: drivers and masks are outside."""


@dataclass(frozen=True, slots=True)
class Peak:
    """What arrays reach.

    Attributes:
        tops: 10¹² operations a second.
        tops_per_watt: 10¹² operations a joule.
        tops_per_mm2: of the macro's area.
        cycle_ns: time of a cycle.
        area_mm2: of the components in `LOGIC`.
        energy_pj: of a cycle, by component.
        macs: multiply-accumulates of a cycle, a fraction of one input digit each.
    """

    tops: float
    tops_per_watt: float
    tops_per_mm2: float
    cycle_ns: float
    area_mm2: float
    energy_pj: dict[str, float]
    macs: float

    @property
    def fj_per_mac(self) -> float:
        """Energy of a multiply-accumulate."""
        return sum(self.energy_pj.values()) * 1e3 / self.macs


def macro(arch: Arch, banks: int = 1) -> Peak:
    """The peak of some of the chip's arrays side by side.

    Args:
        arch: the chip.
        banks: arrays.
    """
    array = arch.array
    gate = gates(arch)
    foot = periphery(arch)
    columns = foot.outputs * foot.slices
    share = columns / array.columns
    conversions = columns if foot.analog else 0
    trees = 0.0 if foot.analog else foot.tree_adders * foot.digit_bits
    energy = {
        "drivers": array.active_rows * row_pj(arch) if foot.analog else 0.0,
        "multipliers": multipliers(arch) * share * gate.multiplier_pj,
        "cells": array.active_rows * columns * capacitor_pj(arch, array.cell_ff) if foot.analog else 0.0,
        "converters": conversions * conversion(arch).energy_pj,
        "adder trees": trees * foot.outputs * gate.adder_pj,
        "place values": foot.placing_adders * foot.outputs * gate.adder_pj,
        "accumulators": foot.accumulator_bits * foot.outputs * (gate.adder_pj + gate.register_pj),
    }
    energy = {name: part * banks for name, part in energy.items() if part > 0}
    macs = foot.outputs * array.active_rows * array.digit_bits / arch.input_bits * banks
    cycle = array_cycle_ns(arch)
    area = sum(part for name, part in array_areas_um2(arch).items() if name in LOGIC) * banks * 1e-6
    tops = 2 * macs / cycle / 1e3
    return Peak(
        tops=tops,
        tops_per_watt=2 * macs / sum(energy.values()),
        tops_per_mm2=tops / area,
        cycle_ns=cycle,
        area_mm2=area,
        energy_pj=energy,
        macs=macs,
    )
