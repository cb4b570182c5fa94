"""What a coding may be, when it is lossless, and how wide its results are."""

from __future__ import annotations

import numpy as np

from netwright.backends.cim.coding import adc, masks, noise, slicing
from netwright.backends.cim.coding.model import Coding
from netwright.ir.errors import RunError, UnsupportedModelError

MOST_BITS = 16
"""Widest input or weight: sums of products then fit 64 bits."""


def lossless_bits(coding: Coding) -> int:
    """Bits with which a converter of step 1 loses nothing: ⌈log2(rows · q + 1)⌉, one more for signed sums."""
    return (coding.rows * adc.unit_sum(coding)).bit_length() + adc.signed(coding)


def lossless(coding: Coding, holding: int | None = None) -> bool:
    """Whether p̂ = p whatever the input, of blocks of which `holding` rows (all) hold weights."""
    if noise.disturbs(coding):
        return False
    rows = coding.rows if holding is None else holding
    most, converter = rows * adc.unit_sum(coding), coding.converter
    least = -most if adc.signed(coding) else 0
    match converter.mode:
        case "exact":
            return True
        case "step" | "clip":
            return (converter.mode == "clip" or converter.step == 1) and most <= adc.top_code(coding)
        case "range":
            covers = converter.low <= least and most <= converter.high
            return covers and adc.range_steps(coding) % (converter.high - converter.low) == 0
        case "charge":
            full, last = adc.full_scale(coding, masks.unmasked_rows(coding, rows), rows), adc.top_code(coding) * adc.parasitic_unit(coding)
            return full <= last


def check(coding: Coding) -> None:
    """Refuse what is not a coding.

    Raises:
        UnsupportedModelError: a field is out of its range, or two do not go together.
    """
    converter, masking, span = coding.converter, coding.masking, coding.converter.high - coding.converter.low
    cells = range(1, 9)
    demands = (
        (coding.rows >= 1, "rows", f"a block of {coding.rows} rows", "Take at least 1 row."),
        (1 <= coding.input_bits <= MOST_BITS, "input_bits", f"inputs of {coding.input_bits} bits", f"Take 1 to {MOST_BITS}."),
        (1 <= coding.weight_bits <= MOST_BITS, "weight_bits", f"weights of {coding.weight_bits} bits", f"Take 1 to {MOST_BITS}."),
        (coding.weight_bits > 1 or coding.encoding == "xnor", "weight_bits", "signed weights of 1 bit", "Take 2 bits, or encoding='xnor'."),
        (coding.digit_bits in cells, "digit_bits", f"digits of {coding.digit_bits} bits", "Take 1 to 8."),
        (coding.cell_bits in cells, "cell_bits", f"cells of {coding.cell_bits} bits", "Take 1 to 8."),
        (
            not coding.input_signed
            or coding.encoding == "xnor"
            or coding.digit_bits == 1
            or (coding.input_bits - 1) % coding.digit_bits == 0,
            "digit_bits",
            f"signed inputs of {coding.input_bits} bits in digits of {coding.digit_bits}",
            f"Take digits that divide {coding.input_bits - 1}, or of 1 bit: the sign's plane is a digit of its own.",
        ),
        (
            1 + adc.signed(coding) <= converter.bits <= 24,
            "converter.bits",
            f"a converter of {converter.bits} bits",
            "Take 1 (signed: 2) to 24.",
        ),
        (converter.mode != "step" or converter.step >= 1, "converter.step", f"a step of {converter.step} counts", "Take at least 1."),
        (converter.mode != "range" or span > 0, "converter.high", f"a range from {converter.low} to {converter.high}", "Take high > low."),
        (masking.group >= 1, "masking.group", f"groups of {masking.group} rows", "Take at least 1."),
        (0 <= masking.threshold <= 1, "masking.threshold", f"a threshold of {masking.threshold}", "Take a share between 0 and 1."),
        (
            masking.parasitic >= 0,
            "masking.parasitic",
            f"a parasitic capacitance of {masking.parasitic}",
            "Take 0 or more 256ths of a cell.",
        ),
    )
    for holds, field, found, remedy in demands:
        if not holds:
            raise UnsupportedModelError(f"Crossbars cannot compute with {found}.", place=f"Coding.{field}", remedy=remedy)


def check_weights(w: np.ndarray, coding: Coding) -> None:
    """Refuse weights that do not fit their bits.

    Raises:
        RunError: they are not integers [K, J], there are none, or one is out of range.
    """
    if w.ndim != 2 or w.dtype.kind not in "iu" or not w.size:
        raise RunError(f"Weights are {w.dtype} {list(w.shape)}.", place="w", remedy="Give integers [K, J], at least one.")
    half = 1 << (coding.weight_bits - 1)
    if coding.encoding == "xnor":
        _check_signs(w, "w")
        return
    low, high = (-half + 1 if coding.encoding == "differential" else -half), half - 1
    _check_range(w, low, high, "w", f"{coding.encoding} weights of {coding.weight_bits} bits")


def check_inputs(x: np.ndarray, rows: int, coding: Coding) -> None:
    """Refuse inputs that do not fit their bits; looks at values only where the type allows others.

    Raises:
        RunError: they are not integers [N, rows], or one is out of range.
    """
    if x.ndim != 2 or x.dtype.kind not in "iu" or x.shape[1] != rows:
        raise RunError(f"Inputs are {x.dtype} {list(x.shape)}.", place="x", remedy=f"Give integers [N, {rows}].")
    if coding.encoding == "xnor":
        _check_signs(x, "x")
        return
    low, high = input_bounds(coding)
    _check_range(x, low, high, "x", f"{'signed' if coding.input_signed else 'unsigned'} inputs of {coding.input_bits} bits")


def input_bounds(coding: Coding) -> tuple[int, int]:
    """The smallest and largest input."""
    if coding.encoding == "xnor":
        return -1, 1
    if coding.input_signed:
        return -(1 << (coding.input_bits - 1)), (1 << (coding.input_bits - 1)) - 1
    return 0, (1 << coding.input_bits) - 1


def result_type(rows: int, coding: Coding) -> np.dtype[np.int32] | np.dtype[np.int64]:
    """int32 where no result of `rows` inputs can be wider, else int64.

    |y| ≤ Σ |places of digits| · Σ |places of cells| · Σ over blocks of the largest |p̂|, and as much again as the offset's correction.
    """
    largest = max(abs(bound) for bound in input_bounds(coding))
    half = 1 << (coding.weight_bits - 1)
    bound = rows * largest * half
    if not lossless(coding):
        blocks = -(-rows // coding.rows)
        places = sum(map(abs, slicing.input_places(coding))) * sum(map(abs, slicing.weight_places(coding)))
        bound = places * blocks * _largest_result(coding) * (2 if coding.encoding == "xnor" else 1) + bound
    return np.dtype(np.int32) if bound < 1 << 31 else np.dtype(np.int64)


def _largest_result(coding: Coding) -> int:
    """The largest |p̂|."""
    most, converter = coding.rows * adc.unit_sum(coding), coding.converter
    match converter.mode:
        case "exact":
            return 2 * most
        case "step" | "clip":
            return adc.top_code(coding) * (converter.step if converter.mode == "step" else 1)
        case "range":
            return max(abs(converter.low), abs(converter.high))
        case "charge":
            return -(-adc.full_scale(coding, coding.rows, coding.rows) // adc.parasitic_unit(coding))


def _check_signs(values: np.ndarray, place: str) -> None:
    if not bool(np.all((values == 1) | (values == -1))):
        raise RunError("A value is neither 1 nor −1.", place=place, remedy="The encoding xnor multiplies signs: give ±1.")


def _check_range(values: np.ndarray, low: int, high: int, place: str, what: str) -> None:
    limits = np.iinfo(values.dtype)
    if not values.size or (low <= limits.min and limits.max <= high):
        return
    least, most = int(values.min()), int(values.max())
    if least < low or most > high:
        raise RunError(f"Values from {least} to {most} are not {what}: {low} … {high}.", place=place, remedy="Quantize to that range.")
