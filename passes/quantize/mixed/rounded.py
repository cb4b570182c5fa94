"""A unit's weights as they are after rounding to some bits, as floats: for trying bits out without integers in the graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir

from netwright.ir.program import array
from netwright.passes.quantize.choice import BlockWise, Choice, Dynamic
from netwright.passes.quantize.integers import Channels, by_rows, in_blocks
from netwright.passes.quantize.rounding.grid import Grid
from netwright.passes.quantize.sites import GATES, Site
from netwright.passes.quantize.units import Unit
from netwright.passes.quantize.weights import float_array

BLOCK_BITS = (4, 8)
"""That weights in blocks can have."""

LEAST_BITS = 2


def bits_of(choice: Choice) -> tuple[int, ...]:
    """The bits that a unit of this choice can have: up to those that it has."""
    every = BLOCK_BITS if isinstance(choice, BlockWise) else range(LEAST_BITS, 9)
    return tuple(bits for bits in every if bits <= choice.bits)


def with_bits(choice: Choice, bits: int) -> Choice:
    """The same with other bits."""
    return choice if choice.bits == bits else replace(choice, bits=bits)


def rounded(unit: Unit, choice: Choice) -> dict[str, np.ndarray]:
    """The unit's weights after rounding to the nearest integers, by name, in their own type and shape.

    Args:
        unit: its sites share weights.
        choice: how it would be quantized.
    """
    found: dict[str, np.ndarray] = {}
    for weight in unit.weights:
        site = next(one for one in unit.sites if weight in one.weights)
        found[weight.name or ""] = _rounded(unit, site, weight, choice)
    return found


def _rounded(unit: Unit, site: Site, weight: onnx_ir.Value, choice: Choice) -> np.ndarray:
    data = float_array(weight)
    matrix = _matrix(unit, site, data)
    if isinstance(choice, BlockWise):
        found = in_blocks(matrix, bits=choice.bits, block_size=choice.block_size, symmetric=choice.symmetric)
        made = Grid.of_blocks(found, choice.bits, choice.block_size)
        made = made.weights(made.nearest(matrix))
    else:
        factors = choice.factors(matrix.shape[1]) if isinstance(choice, Dynamic) and weight is site.weights[0] else None
        channels = by_rows(matrix, bits=choice.bits, factors=factors, per_channel=choice.axis != "tensor")
        made = _floats(channels) if factors is None else _floats(channels) / factors
    back = made.T if _turned(unit, site) else made
    stored = array(weight)
    return np.ascontiguousarray(back.reshape(data.shape)).astype(data.dtype if stored is None else stored.dtype)


def _matrix(unit: Unit, site: Site, data: np.ndarray) -> np.ndarray:
    """[outputs, features]: what shares a scale lies in a row."""
    if _turned(unit, site):
        return data.T
    if site.kind in GATES:
        return data.reshape(-1, data.shape[-1])
    return data.reshape(data.shape[0], -1)


def _turned(unit: Unit, site: Site) -> bool:
    """Products that read [rows, columns] have a scale for each column."""
    return site.kind == "linear" and not site.transposed and not unit.tables


def _floats(found: Channels) -> np.ndarray:
    return found.values.astype(np.float32) * found.scale.reshape(-1, 1)
