"""Conversions, one at a time and in whole numbers: the definition that every engine is held to.

A sum comes as p · scale (scale 1, or 256 where noise makes fractions of counts) and leaves as a numerator over `denominator(coding)`.
"""

from __future__ import annotations

from dataclasses import dataclass

from netwright.backends.cim.coding.model import PARASITIC_STEPS, Coding


@dataclass(frozen=True, slots=True)
class Converted:
    """What a converter makes of one sum.

    Attributes:
        code: of the converter.
        numerator: p̂ · denominator(coding).
        saturated: whether the sum was outside the converter's range.
    """

    code: int
    numerator: int
    saturated: bool


def rhe(numerator: int, denominator: int) -> int:
    """`numerator / denominator` to the nearest integer, half-way cases to the even one; the denominator is positive."""
    quotient, rest = divmod(numerator, denominator)
    return quotient + (2 * rest > denominator or (2 * rest == denominator and quotient % 2 == 1))


def signed(coding: Coding) -> bool:
    """Whether sums can be negative: those of columns subtracted before conversion."""
    return coding.encoding == "differential" and coding.subtract == "before"


def top_code(coding: Coding) -> int:
    """D: the last code, of signed conversions to either side."""
    return (1 << (coding.converter.bits - signed(coding))) - 1


def unit_sum(coding: Coding) -> int:
    """q: the largest contribution of one row to a sum."""
    return 1 if coding.encoding == "xnor" else ((1 << coding.digit_bits) - 1) * ((1 << coding.cell_bits) - 1)


def range_steps(coding: Coding) -> int:
    """Steps from `low` to `high` in mode `range`: D, or D to either side of signed conversions."""
    return top_code(coding) * (2 if signed(coding) else 1)


def parasitic_unit(coding: Coding) -> int:
    """What N_en is counted in, in mode `charge`: whole cells, or 256ths where there is parasitic capacitance."""
    return PARASITIC_STEPS if coding.masking.parasitic else 1


def kept_rows(coding: Coding, holding: int) -> int:
    """N_en of a block of `holding` weight-holding rows without a mask: `fewer_bits` keeps the step that this makes."""
    return coding.rows if coding.masking.granularity == "none" and coding.encoding != "xnor" else holding


def full_scale(coding: Coding, n_en: int, holding: int) -> int:
    """F' · parasitic_unit: the sum at which the column reaches the supply, in mode `charge`; with `fewer_bits`, that without a mask."""
    rows = kept_rows(coding, holding) if coding.masking.fewer_bits else n_en
    return unit_sum(coding) * (rows * parasitic_unit(coding) + coding.masking.parasitic)


def denominator(coding: Coding) -> int:
    """What numerators are over: 1 where p̂ is always whole."""
    match coding.converter.mode:
        case "range":
            return range_steps(coding)
        case "charge":
            return top_code(coding) * parasitic_unit(coding)
        case _:
            return 1


def convert(p: int, n_en: int, coding: Coding, scale: int = 1, holding: int | None = None) -> Converted:
    """Convert the sum p / scale of `n_en` > 0 enabled rows, of `holding` that hold weights (all of the array's)."""
    converter, last = coding.converter, top_code(coding)
    first = -last if signed(coding) else 0
    match converter.mode:
        case "exact":
            code = rhe(p, scale)
            return Converted(code, code, False)
        case "step" | "clip":
            step = converter.step if converter.mode == "step" else 1
            code = rhe(p, step * scale)
            kept = min(max(code, first), last)
            return Converted(kept, kept * step, code != kept)
        case "range":
            inside = min(max(p, converter.low * scale), converter.high * scale)
            steps, span = range_steps(coding), converter.high - converter.low
            code = rhe((inside - converter.low * scale) * steps, span * scale)
            return Converted(code, converter.low * steps + code * span, inside != p)
        case "charge":
            full, unit = full_scale(coding, n_en, coding.rows if holding is None else holding), parasitic_unit(coding)
            code = rhe(p * last * unit, full * scale)
            kept = min(max(code, first), last)
            numerator = kept * full
            if full <= last * unit:
                numerator = rhe(numerator, last * unit) * last * unit
            return Converted(kept, numerator, code != kept)


def resolved_bits(coding: Coding, n_en: int, holding: int) -> int:
    """Bits of a conversion: with `fewer_bits` bits − ⌊log2(rows / N_en)⌋, at least 1; rows are those whose step is kept.

    In mode `charge` these are the block's own without a mask; elsewhere a step is made for all rows of the array.
    """
    if not coding.masking.fewer_bits:
        return coding.converter.bits
    rows = kept_rows(coding, holding) if coding.converter.mode == "charge" else coding.rows
    return max(1, coding.converter.bits - ((rows // n_en).bit_length() - 1))
