"""What a chip's parts take of its area."""

from __future__ import annotations

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.cost.adc import conversion
from netwright.backends.cim.cost.shape import Periphery, periphery
from netwright.backends.cim.cost.units import Gates, gates


def array_areas_um2(arch: Arch) -> dict[str, float]:
    """Area of one array by component, in µm².

    After zigzag-imc: cells; converters, one for each `adc.columns` columns; a gate for the 1-bit product of each cell that works at once,
    except where the cell is the gate (memristors, and charge-domain cells, whose area counts it); adder trees, place values and
    accumulators, the adders of which outputs share where they share a converter. Besides: a flip-flop and a gate for each row's driver;
    and where the chip can disable cells, a full adder (popcount) and a gate a row.
    """
    array = arch.array
    gate = gates(arch)
    foot = periphery(arch)
    parts = {
        "cells": array.rows * array.columns * array.cell_um2,
        "converters": _converters(arch) * conversion(arch).area_um2,
        "multipliers": 0.0 if _cell_multiplies(arch) else multipliers(arch) * gate.multiplier_um2,
        **_adders_um2(gate, foot, _converters(arch)),
        "drivers": array.rows * (gate.register_um2 + gate.multiplier_um2) * array.driver_area_scale,
        "masks": array.active_rows * (gate.adder_um2 + gate.multiplier_um2) if can_mask(arch) else 0.0,
    }
    return {name: area for name, area in parts.items() if area > 0}


def chip_areas_mm2(arch: Arch) -> dict[str, float]:
    """Area of the chip by component, in mm²: its arrays, tile memories, vector units and routers."""
    parts = {name: area * arch.arrays for name, area in array_areas_um2(arch).items()}
    tiles = arch.network.tiles
    parts["memory"] = tiles * arch.tile.memory.bytes * arch.tile.memory.um2_per_byte
    parts["vector units"] = tiles * arch.tile.vector.area_um2
    parts["network"] = tiles * arch.network.router_um2
    return {name: area * 1e-6 for name, area in parts.items() if area > 0}


def multipliers(arch: Arch) -> int:
    """1-bit products that an array forms in a cycle: on digital arrays each bit of a digit has its own."""
    array = arch.array
    working = array.active_rows * array.columns
    return working if array.kind == "analog" else working * array.digit_bits


def can_mask(arch: Arch) -> bool:
    """True where the chip forms masks of its inputs."""
    return any(one not in ("none", "pad") for one in arch.array.disabling.granularities)


def _converters(arch: Arch) -> int:
    adc = arch.array.adc
    return 0 if adc is None else -(-arch.array.columns // adc.columns)


def _cell_multiplies(arch: Arch) -> bool:
    array = arch.array
    return array.device == "rram" or (array.adc is not None and array.adc.mode == "charge")


def _adders_um2(gate: Gates, foot: Periphery, converters: int) -> dict[str, float]:
    trees = 0.0 if foot.analog else foot.tree_adders * foot.digit_bits
    feet = min(foot.outputs, converters) if foot.analog else foot.outputs
    return {
        "adder trees": trees * foot.outputs * gate.adder_um2,
        "place values": foot.placing_adders * feet * gate.adder_um2,
        "accumulators": foot.accumulator_bits * (feet * gate.adder_um2 + foot.outputs * gate.register_um2),
    }
