"""Converters and row drivers: two fits of their energy, area and delay, or a table.

- `zigzag` (zigzag-imc, three 28 nm macros): area 10^(1.206 − 0.0369 b)·2^b µm², delay b·(0.00653 R + 0.640) ns for R cells on the bit line,
  energy (100 b + 0.001·4^b) fF · V². It is used as it stands at other nodes: a converter's capacitors are set by noise, not by lithography.
- `cimloop` (CiMLoop's fit of Murmann's survey, arXiv 2404.06553), with f conversions a second and b ≥ 4 bits:
  FOMS = min(213.7807 − 2.8719·ln f, 128.3068 + 3.22051·⌈b⌉), SNDR = 6.02 b + 1.76,
  energy ½·10^(−(FOMS − SNDR)/10) · exp(26.0496 + 1.88004·ln nm − 2.82913·ln b − 1.4702) pJ,
  area exp(1.34619 + 0.99328·ln nm + 0.18072·ln f + 0.29912·ln energy) µm², delay 1/f.
- `table`: what the chip's description says, at its full resolution; fewer bits cost in proportion, as cycles of successive approximation.

The two fits differ by 1.9 in energy and 1.5 in area at 28 nm and 8 bits: reports name the one in use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from netwright.backends.cim.arch.model import Adc, Arch
from netwright.backends.cim.cost.units import capacitor_pj, delay_scale, energy_scale

SURVEY_FLOOR = 4.0
"""Bits below which the survey's fit does not reach: fewer cost what these cost."""

DRIVER_FF = 50.0
"""Capacitance of a row's converter, for each bit of a digit (zigzag-imc); rows of single bits are switched, not converted."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What one conversion takes.

    Attributes:
        energy_pj: of one conversion.
        area_um2: of one converter.
        delay_ns: of one conversion.
    """

    energy_pj: float
    area_um2: float
    delay_ns: float


def conversion(arch: Arch, bits: float | None = None) -> Conversion:
    """A conversion on this chip, calibration factors and voltage included; all 0 on digital arrays.

    Args:
        arch: the chip.
        bits: resolved bits, a mean over many conversions say; the converter's own where left out. Its area and delay stay those of the
            converter that is there.
    """
    adc = arch.array.adc
    if adc is None:
        return Conversion(0.0, 0.0, 0.0)
    resolved = float(adc.bits if bits is None else bits)
    area = converter_um2(arch, adc) * adc.area_scale
    delay = _delay_ns(arch, adc) * delay_scale(arch)
    return Conversion(converter_pj(arch, adc, resolved) * adc.energy_scale, area, delay)


def converter_pj(arch: Arch, adc: Adc, bits: float) -> float:
    """Energy of resolving some bits, before calibration factors; 0 for 0 bits.

    A conversion resolves whole bits: a mean between two counts as a mixture of both.
    """
    below = math.floor(bits)
    part = bits - below
    energy = _whole_pj(arch, adc, below)
    return energy + part * (_whole_pj(arch, adc, below + 1) - energy) if part > 0 else energy


def _whole_pj(arch: Arch, adc: Adc, bits: int) -> float:
    if bits <= 0:
        return 0.0
    if adc.model == "zigzag":
        return capacitor_pj(arch, 100.0 * bits + 0.001 * 4.0**bits)
    if adc.model == "cimloop":
        return survey_pj(arch.node_nm, bits, adc.rate_mhz * 1e6) * energy_scale(arch)
    return adc.energy_pj * bits / adc.bits * energy_scale(arch)


def converter_um2(arch: Arch, adc: Adc) -> float:
    """Area of a converter, before calibration factors."""
    if adc.model == "zigzag":
        return 0.0 if adc.bits < 2 else 10.0 ** (1.206 - 0.0369 * adc.bits) * 2.0**adc.bits
    if adc.model == "cimloop":
        return survey_um2(arch.node_nm, adc.bits, adc.rate_mhz * 1e6)
    return adc.area_um2


def survey_pj(node_nm: float, bits: float, rate_hz: float) -> float:
    """Energy of a conversion by the survey's fit.

    Args:
        node_nm: technology node.
        bits: effective bits; at least `SURVEY_FLOOR` count.
        rate_hz: conversions a second.
    """
    bits = max(bits, SURVEY_FLOOR)
    merit = min(213.7807 - 2.8719 * math.log(rate_hz), 128.3068 + 3.22051 * math.ceil(bits))
    ratio = 6.02 * bits + 1.76
    technology = math.exp(26.0496 + 1.88004 * math.log(node_nm) - 2.82913 * math.log(bits) - 1.4702)
    return 0.5 * 10.0 ** (-(merit - ratio) / 10.0) * technology


def survey_um2(node_nm: float, bits: float, rate_hz: float) -> float:
    """Area of a converter by the survey's fit; arguments as of `survey_pj`."""
    energy = survey_pj(node_nm, bits, rate_hz)
    return math.exp(1.34619 + 0.99328 * math.log(node_nm) + 0.18072 * math.log(rate_hz) + 0.29912 * math.log(energy))


def row_pj(arch: Arch) -> float:
    """Energy of applying one digit to one row: nothing for single bits, which the cells' gates account for."""
    digit_bits = arch.array.digit_bits
    return 0.0 if digit_bits == 1 else capacitor_pj(arch, DRIVER_FF * digit_bits)


def _delay_ns(arch: Arch, adc: Adc) -> float:
    if adc.model == "zigzag":
        return adc.bits * (0.00653 * arch.array.rows + 0.640)
    if adc.model == "cimloop":
        return 1e3 / adc.rate_mhz
    return adc.delay_ns
