"""Energy of products on crossbars, from what the arrays did.

With E the chip's unit energies (`units`, `adc`), by component, for counts of one product with J outputs and S columns an output:

- `drivers`: rows that a digit drove × E_row (0 for single bits);
- `multipliers`: rows that a digit drove × J·S × E_nor: the gates of cells whose input is 0 rest;
- `cells`: charge domain: Σ p(1 − p/F)/q × C·V² (Kavishwar & Shanbhag, arXiv 2507.09776); elsewhere each conducting cell discharges its
  share of the bit line: Σ p/q × C·V², with q = (2^digit_bits − 1)(2^cell_bits − 1), so that a cell counts fully at its largest product;
- `converters`: conversions × E_adc(bits resolved, the mean over conversions);
- `adder trees` (digital arrays): those of a block of as many rows as hold weights, times the share of ones among products: a full adder
  whose inputs rest does not switch;
- `place values`, `accumulators`: once for each cycle and output;
- `correction`: offset encoding's Σ x (a full adder for each row and cycle, shared by all columns) and its subtraction;
- `masks`: a full adder for each row of each mask (popcount; source: our estimate, ≤ 3.4 fJ at 28 nm), and a multiplication of an output by
  N_en for each compensation.

With every input and weight bit 1 this is the macro's peak (`macro`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.coding.slicing import columns_of
from netwright.backends.cim.cost.adc import conversion, row_pj
from netwright.backends.cim.cost.shape import Periphery, periphery, polarities
from netwright.backends.cim.cost.units import Gates, capacitor_pj, gates
from netwright.backends.cim.engines.base import MvmCounts


@dataclass(frozen=True, slots=True)
class Product:
    """The part of a matrix that counts belong to.

    Attributes:
        coding: how it is computed.
        rows: rows of the matrix, K.
        outputs: columns of the matrix, J.
    """

    coding: Coding
    rows: int
    outputs: int

    @property
    def feet(self) -> int:
        """Peripheries of an output: two where differential columns are converted one by one."""
        return polarities(self.coding.encoding) if self.coding.subtract == "after" else 1

    @property
    def columns(self) -> int:
        """Bit lines."""
        return self.outputs * columns_of(self.coding)


def mvm_energy(arch: Arch, product: Product, counts: MvmCounts) -> dict[str, float]:
    """Energy in pJ by component; components without any are left out."""
    coding = product.coding
    gate = gates(arch)
    foot = periphery(arch)
    weight = (2**coding.digit_bits - 1) * (2**coding.cell_bits - 1)
    digit_gates = 1 if foot.analog else coding.digit_bits
    drawn = counts.charge if coding.converter.mode == "charge" else counts.counts
    results = counts.cycles * product.outputs * product.feet
    parts = {
        "drivers": counts.rows_on * row_pj(arch) if foot.analog else 0.0,
        "multipliers": counts.rows_on * product.columns * digit_gates * gate.multiplier_pj,
        "cells": drawn / weight * capacitor_pj(arch, arch.array.cell_ff) if foot.analog else 0.0,
        "converters": _converters_pj(arch, counts),
        "adder trees": 0.0 if foot.analog else results * coding.digit_bits * _tree_pj(gate, foot, product) * density(product, counts),
        "place values": results * foot.placing_adders * gate.adder_pj,
        "accumulators": results * foot.accumulator_bits * (gate.adder_pj + gate.register_pj),
        "correction": _correction_pj(gate, foot, product, counts),
        "masks": _masks_pj(gate, foot, counts),
    }
    return {name: energy for name, energy in parts.items() if energy > 0}


def density(product: Product, counts: MvmCounts) -> float:
    """Σ p over what it would be if every input and weight bit were 1."""
    coding = product.coding
    weight = (2**coding.digit_bits - 1) * (2**coding.cell_bits - 1)
    full = counts.row_cycles * product.columns * weight
    return min(1.0, counts.counts / full) if full else 0.0


def tree_pj(gate: Gates, bits: int, used: int, physical: int) -> float:
    """Energy of an adder tree over rows of which some are used: adders with one live input switch by half.

    The tree's inputs fill from one end. A node of 2^d inputs below it, of which both halves are live, has bits + d − 1 full adders that
    switch; one with only its first half live half-switches as many. Source: zigzag-imc.

    Args:
        gate: unit energies.
        bits: width of the inputs.
        used: inputs with weights.
        physical: inputs of the tree, a power of two for an even tree.
    """
    if used <= 0:
        return 0.0
    if used >= physical:
        return (physical * (bits + 1) - (bits + math.log2(physical) + 1)) * gate.adder_pj
    full = half = 0.0
    left, below = float(used), float(physical)
    while left > 0:
        below /= 2
        depth = int(math.log2(below)) if below >= 1 else 0
        whole = below * (bits + 1) - (bits + depth + 1)
        if left <= 1 and below <= 1:
            half += bits
            left = 0
        elif left > below:
            full += whole + bits + depth
            left -= below
        elif left < below:
            half += bits + depth
        else:
            full += whole
            half += bits + depth
            left = 0
    return full * gate.adder_pj + half * gate.half_adder_pj


def _tree_pj(gate: Gates, foot: Periphery, product: Product) -> float:
    """Mean over the product's blocks: all full but the last."""
    block = product.coding.rows
    blocks = -(-product.rows // block)
    last = product.rows - (blocks - 1) * block
    full = tree_pj(gate, foot.weight_bits, block, foot.rows)
    return (full * (blocks - 1) + tree_pj(gate, foot.weight_bits, last, foot.rows)) / blocks


def _converters_pj(arch: Arch, counts: MvmCounts) -> float:
    if arch.array.adc is None or not counts.conversions:
        return 0.0
    return counts.conversions * conversion(arch, counts.conversion_bits / counts.conversions).energy_pj


def _correction_pj(gate: Gates, foot: Periphery, product: Product, counts: MvmCounts) -> float:
    if product.coding.encoding != "offset":
        return 0.0
    width = foot.input_bits + foot.weight_bits + foot.depth
    return (counts.row_cycles * product.coding.digit_bits + counts.vectors * product.outputs * width) * gate.adder_pj


def _masks_pj(gate: Gates, foot: Periphery, counts: MvmCounts) -> float:
    counter_bits = math.ceil(math.log2(foot.rows + 1))
    multiplication = counter_bits * max(foot.placed_width, 1.0)
    return (counts.mask_rows + counts.compensations * multiplication) * gate.adder_pj
