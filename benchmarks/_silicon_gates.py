"""A published macro as a count of gates, and what netwright's unit models make of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.cost.adc import conversion, row_pj
from netwright.backends.cim.cost.units import Gates, capacitor_pj, gates


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateware:
    """A macro's gates, over all its banks; energy figures are of what switches in a cycle.

    Attributes:
        multipliers: 1-bit products.
        products: 1-bit products × share that switches.
        adders: full adders.
        additions: full adders × share that switches.
        registers: flip-flops, which all switch.
        lines_ff: capacitance of lines × share that switches, at 28 nm.
        converters: converters.
        conversions: converters × share that converts.
        area_bits: resolution of the converters' area, where it is not that of the conversions.
        driven: rows with a converter of their own (`Array.digit_bits` > 1).
        cells_mm2: area of the cell arrays.
    """

    multipliers: float
    products: float
    adders: float = 0
    additions: float = 0
    registers: float = 0
    lines_ff: float = 0
    converters: float = 0
    conversions: float = 0
    area_bits: int = 0
    driven: float = 0
    cells_mm2: float = 0


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a path: `sums` input-to-sum delays, `carries` input-to-carry, `ripples` carry-to-carry, products, conversions."""

    sums: float = 0
    carries: float = 0
    ripples: float = 0
    products: float = 0
    conversions: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A published macro.

    Attributes:
        name: as zigzag-imc calls it.
        paper: where it was published.
        arch: node, voltage and converter.
        macs: multiply-accumulates that `cycles` cycles make.
        cycles: of an input.
        gateware: what it is made of.
        path: stages of which the slowest is the cycle; each a list of (adder paths, converters passed).
        reported: area in mm², cycle in ns, fJ of a multiply-accumulate.
        theirs: errors in % of zigzag-imc's authors, without sign, of the same three.
        outlier: why its energy cannot be compared, where that is so.
    """

    name: str
    paper: str
    arch: Arch
    macs: float
    cycles: float
    gateware: Gateware
    path: tuple[tuple[Step, ...], ...]
    reported: tuple[float, float, float]
    theirs: tuple[float, float, float]
    outlier: str = ""


PRODUCT = Step(products=1)
CONVERT = Step(conversions=1)


def tree(bits: int, inputs: int) -> Step:
    """Through an adder tree."""
    depth = inputs.bit_length() - 1
    return Step(sums=depth - 1, carries=1, ripples=bits + depth - 2)


def accumulate(width: int, given: int) -> Step:
    """Through an accumulator whose low bits wait for nothing."""
    return Step(sums=1, ripples=width - given)


def tree_adders(bits: int, inputs: int) -> int:
    """Full adders of a tree."""
    return inputs * (bits + 1) - (bits + inputs.bit_length())


def modelled(chip: Chip) -> tuple[float, float, float]:
    """Area in mm², cycle in ns, fJ of a multiply-accumulate, by netwright's unit models."""
    ware, gate = chip.gateware, gates(chip.arch)
    area = ware.multipliers * gate.multiplier_um2 + ware.adders * gate.adder_um2 + ware.registers * gate.register_um2
    area += ware.converters * conversion(_resolving(chip.arch, ware.area_bits)).area_um2
    energy = ware.products * gate.multiplier_pj + ware.additions * gate.adder_pj + ware.registers * gate.register_pj
    energy += capacitor_pj(chip.arch, ware.lines_ff * chip.arch.node_nm / 28)
    energy += ware.conversions * conversion(chip.arch).energy_pj + ware.driven * row_pj(chip.arch)
    cycle = max(sum(_ns(chip.arch, gate, step) for step in stage) for stage in chip.path)
    return area * 1e-6 + ware.cells_mm2, cycle, energy * chip.cycles / chip.macs * 1e3


def _ns(arch: Arch, gate: Gates, step: Step) -> float:
    adders = step.sums * gate.sum_ns + step.carries * gate.carry_ns + step.ripples * gate.ripple_ns
    return adders + step.products * gate.multiplier_ns + step.conversions * conversion(arch).delay_ns


def _resolving(arch: Arch, bits: int) -> Arch:
    if not bits or arch.array.adc is None:
        return arch
    return replace(arch, array=replace(arch.array, adc=replace(arch.array.adc, bits=bits)))
