"""Energies, areas and delays of the gates that a macro is built from.

Source: zigzag-imc's 28 nm library (NAND2 of 0.7 fF, 0.614 µm², 47.8 ps; XOR2 of 1.5 its capacitance and 2.4 its area and delay; flip-flop
of 3 and 6), valid for ripple-carry adders of integers at 0.9 V. Other nodes follow constant-field scaling: capacitance and delay with
the node, area with its square (Stillmaker & Baas 2017 find 1.95 instead of 2.03 for the energy from 32 to 65 nm, and 3.3 instead of 4.1
for the area).
An energy is C·V² at the nominal voltage, times (V / nominal)^exponent.
"""

from __future__ import annotations

from dataclasses import dataclass

from netwright.backends.cim.arch.model import Arch

LIBRARY_NM = 28.0
"""The node of the library's figures."""

NAND_FF = 0.7
NAND_UM2 = 0.614
NAND_NS = 0.0478
XOR_FF = 1.5 * NAND_FF
XOR_UM2 = 2.4 * NAND_UM2
XOR_NS = 2.4 * NAND_NS
FLIP_FLOP_FF = 3 * NAND_FF
FLIP_FLOP_UM2 = 6 * NAND_UM2


@dataclass(frozen=True, slots=True)
class Gates:
    """The library at a chip's node and voltage.

    Attributes:
        adder_pj: a full adder (3 NAND2 and 2 XOR2) with both inputs live.
        half_adder_pj: the same with one input at rest: only its XOR2 switch.
        multiplier_pj: a 1-bit product (a NOR whose weight rests: half a NAND2).
        register_pj: a flip-flop.
        adder_um2: of a full adder.
        multiplier_um2: of a 1-bit product.
        register_um2: of a flip-flop.
        multiplier_ns: through a 1-bit product.
        sum_ns: of a full adder, from an input to the sum.
        carry_ns: from an input to the carry.
        ripple_ns: from carry to carry.
    """

    adder_pj: float
    half_adder_pj: float
    multiplier_pj: float
    register_pj: float
    adder_um2: float
    multiplier_um2: float
    register_um2: float
    multiplier_ns: float
    sum_ns: float
    carry_ns: float
    ripple_ns: float


def nominal_voltage(arch: Arch) -> float:
    """The voltage at which the chip's energies and delays are given."""
    return arch.nominal_voltage or arch.voltage


def energy_scale(arch: Arch) -> float:
    """What energies are times those at the nominal voltage."""
    return (arch.voltage / nominal_voltage(arch)) ** arch.voltage_exponent


def delay_scale(arch: Arch) -> float:
    """What delays are times those at the nominal voltage."""
    return (nominal_voltage(arch) / arch.voltage) ** arch.delay_exponent


def capacitor_pj(arch: Arch, femtofarads: float) -> float:
    """Energy of charging a capacitance from the arrays' supply."""
    return femtofarads * 1e-3 * nominal_voltage(arch) ** 2 * energy_scale(arch)


def gates(arch: Arch) -> Gates:
    """The library at a chip's node and voltage."""
    node = arch.node_nm / LIBRARY_NM
    area = node**2
    delay = node * delay_scale(arch)
    return Gates(
        adder_pj=capacitor_pj(arch, (3 * NAND_FF + 2 * XOR_FF) * node),
        half_adder_pj=capacitor_pj(arch, 2 * XOR_FF * node),
        multiplier_pj=capacitor_pj(arch, 0.5 * NAND_FF * node),
        register_pj=capacitor_pj(arch, FLIP_FLOP_FF * node),
        adder_um2=(3 * NAND_UM2 + 2 * XOR_UM2) * area,
        multiplier_um2=NAND_UM2 * area,
        register_um2=FLIP_FLOP_UM2 * area,
        multiplier_ns=NAND_NS * delay,
        sum_ns=2 * XOR_NS * delay,
        carry_ns=(XOR_NS + 2 * NAND_NS) * delay,
        ripple_ns=2 * NAND_NS * delay,
    )
