"""Whether cells are disabled at one product, and how: zeros against the threshold, energy against energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir

from netwright.backends.cim import engines
from netwright.backends.cim.arch.model import Arch, Granularity
from netwright.backends.cim.coding.adc import full_scale, parasitic_unit, top_code
from netwright.backends.cim.coding.masks import unmasked_rows
from netwright.backends.cim.coding.model import Coding, Masking
from netwright.backends.cim.cost.mvm import Product, mvm_energy
from netwright.backends.cim.sparsity.zeros import MASKS, Zeros, zeros
from netwright.ir.opinfo import int_attr, is_standard
from netwright.ir.program import array

ENERGY_VECTORS = 64
"""Input vectors on which energy is estimated."""

_STEPS = 16
_SAME_CODES = ("Transpose", "Reshape", "MaxPool", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Slice", "Gather", "Im2Col")
"""Operators that hand on bytes as they are."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is best at one product.

    Attributes:
        zeros: what the chosen masks find; what the finest offered would find, where none is chosen.
        masking: the chosen one; None where cells stay enabled.
        energy: of the product's arrays with masks, over that without.
        reason: why, or why not.
    """

    zeros: Zeros | None
    masking: Masking | None
    energy: float
    reason: str


def offered(arch: Arch, granularity: str, group: int) -> tuple[tuple[Granularity, int], ...] | str:
    """Masks to look at, as (granularity, group); the reason as a sentence where the chip has none that fit.

    Args:
        arch: the chip.
        granularity: `auto` for all that the chip offers.
        group: rows of a group; 0 for the chip's.
    """
    disabling = arch.array.disabling
    chip: list[Granularity] = [one for one in MASKS if one in disabling.granularities]
    listed = ", ".join(disabling.granularities)
    if not chip:
        return f"the chip {arch.name} disables no cells by their input: it offers {listed}"
    if granularity != "auto" and granularity not in chip:
        return f"the chip {arch.name} has no masks by {granularity}: it offers {listed}"
    if group and group % disabling.group and any(one.endswith("group") for one in chip):
        return f"the chip {arch.name} switches {disabling.group} rows together: a group of {group} is no multiple of that"
    return tuple((one, group or disabling.group) for one in chip if granularity in ("auto", one))


def decide(
    x: np.ndarray,
    weight: np.ndarray,
    coding: Coding,
    arch: Arch,
    masks: Sequence[tuple[Granularity, int]],
    *,
    threshold: float,
    fewer_bits: bool,
    zero_point: int | None,
) -> Verdict:
    """Choose masks for one product.

    Of the granularities whose zeros exceed the threshold, that which leaves the fewest rows enabled is taken where fewer make sums finer;
    where sums are exact without (or do not depend on how many rows are enabled), the one of least energy, if it saves any.

    Args:
        x: inputs [N, K] that it reads.
        weight: [K, J].
        coding: how it is computed so far.
        arch: the chip.
        masks: to look at.
        threshold: share of zeros that must be exceeded.
        fewer_bits: convert with fewer bits instead of finer steps.
        zero_point: of the inputs, where known.
    """
    if coding.encoding == "xnor":
        return Verdict(None, None, 1.0, "its inputs are ±1, which has no zeros: all rows count (XNOR)")
    found = [zeros(x, coding, granularity, group, threshold) for granularity, group in masks]
    sparse = [one for one in found if one.sparsity > threshold]
    if not sparse:
        most = max(found, key=lambda one: one.sparsity)
        about = f"{most.sparsity:.1%} of its rows rest by {most.name}, which does not exceed the threshold of {threshold:.1%}"
        return Verdict(most, None, 1.0, about + _why_dense(coding, zero_point))
    finer = not fewer_bits and _is_coarse(coding, len(weight))
    best: Verdict | None = None
    for one in sorted(sparse, key=lambda one: one.enabled):
        masking = replace(coding.masking, granularity=one.granularity, group=max(one.group, 1), threshold=threshold, fewer_bits=fewer_bits)
        ratio = _energy_ratio(x, weight, coding, replace(coding, masking=masking), arch)
        about = f"{one.sparsity:.1%} of its rows rest by {one.name}"
        if finer:
            bits = -float(np.log2(max(one.enabled, 1e-9)))
            return Verdict(one, masking, ratio, f"{about}: steps finer by {bits:.1f} bits, {ratio:.2f} times the energy")
        if best is None or ratio < best.energy:
            best = Verdict(one, masking, ratio, f"{about}: {ratio:.2f} times the energy, values as they were")
    assert best is not None, "some mask exceeds"
    if best.energy < 1.0:
        return best
    why = "its sums are exact without masks" if coding.converter.mode == "charge" else f"conversions of mode {coding.converter.mode} do not"
    why = why if coding.converter.mode == "charge" else f"{why} depend on how many rows are enabled"
    reason = f"{best.reason.partition(':')[0]}, but {why}, and masks would take {best.energy:.2f} times the energy"
    return Verdict(best.zeros, None, best.energy, reason)


def zero_point_of(value: onnx_ir.Value | None) -> int | None:
    """The zero point of bytes, looked for where they were made; None where it is not found."""
    for _ in range(_STEPS):
        node = value.producer() if value is not None else None
        if node is None:
            return None
        if node.op_type == "Requantize":
            return int_attr(node, "zero_point", 0)
        if is_standard(node, "QuantizeLinear"):
            known = array(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(1)
            return None if known is None or known.size != 1 else int(known.reshape(-1)[0])
        if node.op_type not in _SAME_CODES:
            return None
        value = node.inputs[0]
    return None


def _why_dense(coding: Coding, zero_point: int | None) -> str:
    if coding.input_signed:
        return "; its inputs are two's complement, whose negative numbers have dense planes"
    if zero_point:
        return f"; its inputs' zero point is {zero_point}, so that a real 0 is no byte of 0"
    return ""


def _is_coarse(coding: Coding, rows: int) -> bool:
    """True where a charge converter's step, all rows of the fullest block enabled, is more than a count."""
    if coding.converter.mode != "charge":
        return False
    holding = min(rows, coding.rows)
    return full_scale(coding, unmasked_rows(coding, holding), holding) > top_code(coding) * parasitic_unit(coding)


def _energy_ratio(x: np.ndarray, weight: np.ndarray, before: Coding, after: Coding, arch: Arch) -> float:
    some = x[np.unique(np.linspace(0, len(x) - 1, ENERGY_VECTORS).round().astype(int))]
    spent: list[float] = []
    for coding in (before, after):
        counts = engines.prepare(weight, coding).multiply(some).counts
        spent.append(sum(mvm_energy(arch, Product(coding, weight.shape[0], weight.shape[1]), counts).values()))
    return spent[1] / spent[0] if spent[0] else 1.0
