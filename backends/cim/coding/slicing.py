"""Digits of inputs and cells of weights, with their place values: `Σ place · digit = x` and `Σ place · cell = w` (or w + half)."""

from __future__ import annotations

import numpy as np

from netwright.backends.cim.coding.model import Coding


def input_places(coding: Coding) -> tuple[int, ...]:
    """What one step of each digit counts; of signed inputs, the last digit is the sign's plane and counts negative."""
    if coding.encoding == "xnor":
        return (1,)
    if not coding.input_signed:
        return tuple(1 << low for low in range(0, coding.input_bits, coding.digit_bits))
    return (*(1 << low for low in range(0, coding.input_bits - 1, coding.digit_bits)), -(1 << (coding.input_bits - 1)))


def weight_places(coding: Coding) -> tuple[int, ...]:
    """What one step of each cell's sum counts; differential `after`: the cells of w⁺ come first, those of w⁻ after them, negative."""
    lows = range(0, _sliced_bits(coding), coding.cell_bits)
    if coding.encoding == "xnor":
        return (1,)
    if coding.encoding == "twos_complement":
        return (*(1 << low for low in lows), -(1 << (coding.weight_bits - 1)))
    if coding.encoding == "differential" and coding.subtract == "after":
        return (*(1 << low for low in lows), *(-(1 << low) for low in lows))
    return tuple(1 << low for low in lows)


def digits_of(x: np.ndarray, coding: Coding) -> np.ndarray:
    """Digits uint8 [digits, *x.shape] of integers; of ±1, whether they are 1."""
    if coding.encoding == "xnor":
        return (x > 0).astype(np.uint8)[None]
    raw = x.astype(np.int64)
    largest = (1 << coding.digit_bits) - 1
    if not coding.input_signed:
        return np.stack([((raw >> low) & largest).astype(np.uint8) for low in range(0, coding.input_bits, coding.digit_bits)])
    digits = [((raw >> low) & largest).astype(np.uint8) for low in range(0, coding.input_bits - 1, coding.digit_bits)]
    return np.stack([*digits, (raw < 0).astype(np.uint8)])


def cells_of(w: np.ndarray, coding: Coding) -> np.ndarray:
    """Cells int16 [cells, *w.shape], in the order of `weight_places`; differential `before` gives w⁺'s cells minus w⁻'s."""
    raw = w.astype(np.int64)
    half = 1 << (coding.weight_bits - 1)
    match coding.encoding:
        case "xnor":
            return (raw > 0).astype(np.int16)[None]
        case "offset":
            return _slices(raw + half, coding)
        case "twos_complement":
            return np.concatenate([_slices(raw & (half - 1), coding), (raw < 0).astype(np.int16)[None]])
        case "differential":
            positive, negative = _slices(np.maximum(raw, 0), coding), _slices(np.maximum(-raw, 0), coding)
            return positive - negative if coding.subtract == "before" else np.concatenate([positive, negative])


def columns_of(coding: Coding) -> int:
    """Bit lines that one output takes: its cells, those of w⁻ included."""
    return len(weight_places(coding)) * (2 if coding.encoding == "differential" and coding.subtract == "before" else 1)


def _sliced_bits(coding: Coding) -> int:
    """Bits that are cut into cells of `cell_bits`: all, or all but the sign."""
    return coding.weight_bits if coding.encoding == "offset" else coding.weight_bits - 1


def _slices(magnitudes: np.ndarray, coding: Coding) -> np.ndarray:
    largest = (1 << coding.cell_bits) - 1
    return np.stack([((magnitudes >> low) & largest).astype(np.int16) for low in range(0, _sliced_bits(coding), coding.cell_bits)])
