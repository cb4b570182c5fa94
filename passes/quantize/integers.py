"""Arrays to integers, symmetric per channel or in blocks, with scales that minimise the squared error; in slices, to bound memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SLICE_ELEMENTS = 1 << 21
"""Elements worked on at a time: temporaries of a few tens of MB, whatever the weight's size."""

PEAKED = 5.0
"""Largest element over root mean square from which clipping a channel at 8 bits can lower its squared error (below, rounding
dominates: on normally distributed weights the best clip is the largest element itself)."""

SHRINKS = (0.9, 0.8, 0.7, 0.6, 0.5)
"""Clips tried for a peaked channel at 8 bits, as shares of the largest element."""

SHRINKS_FEW = (0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3)
"""The same for every channel of at most `FEW_BITS`, and for blocks of 2 bits."""

FEW_BITS = 6
"""Of bits for which clipping pays on normally distributed weights, in channels of some hundred elements."""

SHRINKS_4 = (0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
"""The same for every block of 4 bits."""


@dataclass(frozen=True, slots=True)
class Channels:
    """Signed integers with one scale for each row (or column).

    Attributes:
        values: int8 [rows, columns].
        scale: float32 [rows] (or [columns]), or [1]; the weight is about `values * scale[:, None]` (or `values * scale`).
    """

    values: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True, slots=True)
class Blocks:
    """Unsigned integers with one scale (and zero point) for each block of a row, as `MatMulNBits` and `GatherBlockQuantized` take them.

    Attributes:
        values: uint8 [rows, blocks, block_size * bits / 8]; of several numbers in a byte, the first is in its lowest bits.
        scale: float32 [rows, blocks].
        zero_point: uint8 [rows, blocks] (packed likewise, [rows, ceil(blocks * bits / 8)]); None where it is `2 ** (bits - 1)` throughout.
        factors: what the weight was multiplied by first, float32 [columns], and its input is to be divided by; None for nothing.
    """

    values: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray | None
    factors: np.ndarray | None = None


def by_rows(weight: np.ndarray, *, bits: int = 8, factors: np.ndarray | None = None, per_channel: bool = True) -> Channels:
    """Quantize each row symmetrically; peaked rows are clipped where that lowers the squared error.

    Args:
        weight: float [rows, columns], finite.
        bits: 2 to 8; 7 where products of bytes are summed in 16 bits.
        factors: [columns], multiplied in first.
        per_channel: a scale for each row; else one for all, [1].
    """
    top = float((1 << (bits - 1)) - 1)
    whole = None if per_channel else _whole_step(weight, factors, top)
    values = np.empty(weight.shape, np.int8)
    scale = np.empty(weight.shape[0], np.float32)
    for rows in _slices(weight):
        part = _float(weight[rows], factors)
        step = _row_steps(part, top) if whole is None else np.full(part.shape[0], whole)
        scale[rows] = step
        values[rows] = _rounded(part, step[:, None], top)
    return Channels(values, scale if whole is None else np.array([whole]))


def by_columns(weight: np.ndarray, *, bits: int = 8, factors: np.ndarray | None = None, per_channel: bool = True) -> Channels:
    """As `by_rows`, for the columns of `weight` [rows, columns]: `values` keeps the weight's shape, `scale` is [columns].

    `factors` is [rows]: it multiplies each row, whose elements share one input channel.
    """
    top = float((1 << (bits - 1)) - 1)
    whole = None if per_channel else _whole_step(weight.T, factors, top)
    rows, columns = weight.shape
    width = max(1, SLICE_ELEMENTS // max(rows, 1))
    values = np.empty(weight.shape, np.int8)
    scale = np.empty(columns, np.float32)
    for start in range(0, columns, width):
        part = _float(weight[:, start : start + width].T, factors)
        step = _row_steps(part, top) if whole is None else np.full(part.shape[0], whole)
        scale[start : start + width] = step
        values[:, start : start + width] = _rounded(part, step[:, None], top).T
    return Channels(values, scale if whole is None else np.array([whole]))


def in_blocks(weight: np.ndarray, *, bits: int, block_size: int, symmetric: bool) -> Blocks:
    """Quantize blocks of each row, the last padded with zeros; at 4 bits and fewer, clips are searched for the least squared error.

    Args:
        weight: float [rows, columns], finite.
        bits: 2, 4 or 8.
        block_size: a power of two from 16.
        symmetric: zero points at `2 ** (bits - 1)` throughout, else chosen by block.
    """
    rows, columns = weight.shape
    count = -(-columns // block_size)
    values = np.empty((rows, count, block_size * bits // 8), np.uint8)
    scale = np.empty((rows, count), np.float32)
    zero = np.empty((rows, count), np.uint8)
    for part in _slices(weight):
        padded = np.zeros((part.stop - part.start, count * block_size), np.float32)
        padded[:, :columns] = weight[part]
        blocks = padded.reshape(-1, count, block_size)
        found, step, middle = _best_blocks(blocks, bits, symmetric)
        values[part] = packed(found, bits)
        scale[part], zero[part] = step, middle
    if symmetric:
        return Blocks(values, scale, None)
    return Blocks(values, scale, packed(zero, bits))


def packed(integers: np.ndarray, bits: int = 4) -> np.ndarray:
    """Numbers of 2, 4 or 8 bits along the last axis in bytes, the first in the lowest bits; what is left of the last byte is 0."""
    share = 8 // bits
    if share == 1:
        return integers
    missing = -integers.shape[-1] % share
    if missing:
        integers = np.concatenate([integers, np.zeros((*integers.shape[:-1], missing), np.uint8)], axis=-1)
    whole = integers[..., 0::share].copy()
    for place in range(1, share):
        whole |= integers[..., place::share] << (bits * place)
    return whole


def unpacked(packed_bytes: np.ndarray, bits: int) -> np.ndarray:
    """The numbers in bytes, padding and all: the inverse of `packed`."""
    share, mask = 8 // bits, (1 << bits) - 1
    return np.stack([(packed_bytes >> (bits * place)) & mask for place in range(share)], axis=-1).reshape(*packed_bytes.shape[:-1], -1)


def _slices(weight: np.ndarray) -> Iterator[slice]:
    height = max(1, SLICE_ELEMENTS // max(weight.shape[1], 1))
    for start in range(0, weight.shape[0], height):
        yield slice(start, min(start + height, weight.shape[0]))


def _float(part: np.ndarray, factors: np.ndarray | None) -> np.ndarray:
    array = np.ascontiguousarray(part, np.float32)
    return array if factors is None else array * factors.astype(np.float32)


def _whole_step(weight: np.ndarray, factors: np.ndarray | None, top: float) -> np.float32:
    peak = max((float(np.abs(_float(weight[rows], factors)).max(initial=0)) for rows in _slices(weight)), default=0.0)
    return np.float32(peak / top if peak > 0 else 1)


def _row_steps(part: np.ndarray, top: float) -> np.ndarray:
    """The step of each row, [rows]: the largest element over `top`, or less where a smaller clip loses less."""
    if part.shape[1] == 0:
        return np.ones(len(part), np.float32)
    peak = np.maximum(part.max(axis=1), -part.min(axis=1))
    step: np.ndarray = np.where(peak > 0, peak / top, 1).astype(np.float32)
    few = top < 1 << (FEW_BITS - 1)
    power = np.sqrt(np.einsum("ij,ij->i", part, part) / part.shape[1])
    rows = np.flatnonzero(peak > 0 if few else peak > PEAKED * power)
    if rows.size == 0 or (top < 127 and not few):
        return step
    chosen = part[rows]
    best, least = step[rows], _row_error(chosen, step[rows], top)
    for share in SHRINKS_FEW if few else SHRINKS:
        trial = (step[rows] * share).astype(np.float32)
        error = _row_error(chosen, trial, top)
        better = error < least
        best, least = np.where(better, trial, best), np.where(better, error, least)
    step[rows] = best
    return step


def _row_error(part: np.ndarray, step: np.ndarray, top: float) -> np.ndarray:
    residue = np.clip(np.rint(part / step[:, None]), -top - 1, top) * step[:, None] - part
    return np.einsum("ij,ij->i", residue, residue)


def _rounded(part: np.ndarray, step: np.ndarray, top: float) -> np.ndarray:
    """In float64, so that the value map, which anyone can recompute, gives the same integers."""
    return np.clip(np.rint(part / step.astype(np.float64)), -top - 1, top).astype(np.int8)


def _best_blocks(blocks: np.ndarray, bits: int, symmetric: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    low, high = np.minimum(blocks.min(axis=-1), 0), np.maximum(blocks.max(axis=-1), 0)
    best = _block_values(blocks, low, high, bits, symmetric)
    if bits > 4:
        return best[:3]
    values, step, middle, least = best
    for share in SHRINKS_4 if bits == 4 else SHRINKS_FEW:
        trial = _block_values(blocks, low * share, high * share, bits, symmetric)
        better = trial[3] < least
        values[better], step[better], middle[better], least[better] = trial[0][better], trial[1][better], trial[2][better], trial[3][better]
    return values, step, middle


def _block_values(
    blocks: np.ndarray, low: np.ndarray, high: np.ndarray, bits: int, symmetric: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Integers, steps, zero points and squared errors of blocks that are to represent `low` to `high`."""
    top, half = (1 << bits) - 1, 1 << (bits - 1)
    if symmetric:
        step = np.maximum(high / (half - 1), -low / half)
        middle = np.full(step.shape, half, np.float32)
    else:
        step = (high - low) / top
        middle = np.rint(-low / np.where(step > 0, step, 1))
    step = np.where(step > 0, step, 1).astype(np.float32)
    middle = np.clip(middle, 0, top).astype(np.float32)
    values = np.clip(np.rint(blocks / step[..., None]) + middle[..., None], 0, top)
    residue = (values - middle[..., None]) * step[..., None] - blocks
    return values.astype(np.uint8), step, middle.astype(np.uint8), np.einsum("...i,...i->...", residue, residue)
