"""AdaRound: whether each weight is rounded up or down is learned (Nagel et al., 2020).

ŵ = step · clip(⌊w / step⌋ + h(V), low, high) with h(V) = clip(1.2 σ(V) − 0.1, 0, 1) is moved to minimise tr(ΔW H ΔWᵀ) / (mean H_jj · step²)
plus λ Σ (1 − |2 h − 1|^β), whose β falls from 20 to 2 after a first fifth of the steps without it, so that h settles at 0 or 1.
H = E[x xᵀ] stands for the data, so that every step (Adam) sees all of it.
"""

from __future__ import annotations

import numpy as np

from netwright.passes.quantize.rounding.grid import Grid

STEPS = 300
RATE = 0.03
"""Of Adam."""

BETAS = (20.0, 2.0)
"""Of the penalty, at first and at last."""

PENALTY = 0.02
"""λ, in squared steps."""

WARM_UP = 0.2
"""Share of the steps without penalty."""

PART_ELEMENTS = 1 << 22
"""Elements learned at a time: rows do not depend on each other."""

_STRETCH, _SHIFT = 1.2, -0.1


def adaround(matrix: np.ndarray, second: np.ndarray, grid: Grid) -> np.ndarray:
    """Round a matrix; some hundreds of times the work of one product of H with it.

    Args:
        matrix: W, [outputs, features].
        second: E[x xᵀ], [parts, features / parts, features / parts]: see `Evidence`.
        grid: of the matrix.

    Returns:
        Integers, float32 [outputs, features].
    """
    width = second.shape[1]
    stacks = matrix.shape[1] // width
    groups = len(second) // stacks
    members = len(matrix) // groups
    result = np.empty(matrix.shape, np.float32)
    mean = np.maximum(np.diagonal(second, axis1=1, axis2=2).mean(axis=1), np.finfo(np.float32).tiny)
    scaled = (second / mean[:, None, None]).astype(np.float32)
    height = max(1, PART_ELEMENTS // max(1, matrix.shape[1]))
    for group in range(groups):
        own = scaled[group * stacks : (group + 1) * stacks]
        for start in range(group * members, (group + 1) * members, height):
            rows = slice(start, min(start + height, (group + 1) * members))
            result[rows] = _learned(matrix[rows].astype(np.float32), own, grid.rows(rows))
    return result


def _learned(matrix: np.ndarray, second: np.ndarray, grid: Grid) -> np.ndarray:
    """Integers of some rows; second: [stacks, width, width]."""
    step, middle = grid.spread(matrix.shape[1])
    floor = np.floor(matrix / step)
    share = np.clip((matrix / step - floor - _SHIFT) / _STRETCH, 1e-4, 1 - 1e-4)
    logits = np.log(share / (1 - share))
    power = np.maximum((step**2).mean(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    first, second_moment = np.zeros_like(logits), np.zeros_like(logits)
    warm = int(WARM_UP * STEPS)
    for turn in range(STEPS):
        sigmoid = 1 / (1 + np.exp(-logits))
        up = np.clip(_STRETCH * sigmoid + _SHIFT, 0, 1)
        whole = floor + up + middle
        inside = (whole >= grid.low) & (whole <= grid.high)
        off = (np.clip(whole, grid.low, grid.high) - middle) * step - matrix
        slope = _times(off, second) * (step / power) * inside
        if turn >= warm:
            beta = BETAS[1] + 0.5 * (BETAS[0] - BETAS[1]) * (1 + np.cos(np.pi * (turn - warm) / (STEPS - warm)))
            centred = 2 * up - 1
            slope -= PENALTY * beta * np.sign(centred) * np.abs(centred) ** (beta - 1)
        slope *= _STRETCH * sigmoid * (1 - sigmoid) * ((up > 0) & (up < 1))
        first += 0.1 * (slope - first)
        second_moment += 0.001 * (slope**2 - second_moment)
        logits -= RATE * (first / (1 - 0.9 ** (turn + 1))) / (np.sqrt(second_moment / (1 - 0.999 ** (turn + 1))) + 1e-8)
    up = (_STRETCH / (1 + np.exp(-logits)) + _SHIFT >= 0.5).astype(np.float32)
    return np.clip(floor + up + middle, grid.low, grid.high)


def _times(off: np.ndarray, second: np.ndarray) -> np.ndarray:
    """ΔW H, part by part."""
    stacks, width = second.shape[0], second.shape[1]
    if stacks == 1:
        return off @ second[0]
    cut = off.reshape(len(off), stacks, width).transpose(1, 0, 2)
    return (cut @ second).transpose(1, 0, 2).reshape(off.shape)
