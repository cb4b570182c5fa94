"""From a range to the integers that stand for it."""

from __future__ import annotations

import numpy as np

from netwright.passes.quantize.choice import ActivationGrid

_LEAST = float(np.finfo(np.float32).tiny)


def grid_of(low: float, high: float, *, bits: int = 8, signed: bool = False, symmetric: bool = False) -> ActivationGrid:
    """The grid that spans `low` to `high` and 0, with a scale that float32 holds exactly.

    An empty range gets the scale 1. A symmetric grid has its zero in the middle and as many steps above as below; else the zero point is
    rounded, and an end may lie half a step outside.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    steps = (1 << bits) - 1
    least = -(1 << (bits - 1)) if signed else 0
    if symmetric:
        middle = 0 if signed else 1 << (bits - 1)
        return ActivationGrid(_scale(max(-low, high), steps >> 1), middle, bits, signed)
    scale = _scale(high - low, steps)
    return ActivationGrid(scale, least + min(steps, max(0, round(-low / scale))), bits, signed)


def on_grid(values: np.ndarray, grid: ActivationGrid) -> np.ndarray:
    """The values as the grid represents them, in their own type."""
    integers = np.clip(np.rint(values / grid.scale) + grid.zero_point, grid.low, grid.high)
    return ((integers - grid.zero_point) * grid.scale).astype(values.dtype)


def _scale(span: float, steps: int) -> float:
    if span == 0:
        return 1.0
    return max(float(np.float32(span / steps)), _LEAST)
