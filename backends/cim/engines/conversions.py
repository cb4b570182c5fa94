"""A converter as five numbers: what every engine computes conversions by, all sums of a block's digit at once.

    code = clip(rhe((clip(p, low, high) − low) · over / under), first, last),     p̂ = (code · gain + shift) / denominator

with whole numbers that depend on N_en only.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np

from netwright.backends.cim.coding import adc, noise
from netwright.backends.cim.coding.model import Coding

INT64 = np.dtype(np.int64)

NO_BOUND = 1 << 40
"""Beyond any sum: a block has fewer than 2^24 rows of cells of 8 bits and digits of 8 bits."""

KEPT = 64
"""Tables of conversions that stay ready, some 100 bytes for each row of a block."""

_EXACT = 1 << 51
"""Below it a quotient of float64 lies on a half exactly where the fraction does: others are farther from it than floats are apart."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """See the module; sums are counted in 1 / scale.

    Attributes:
        low: smallest sum, in the converter's own count.
        high: largest sum.
        over: codes …
        under: … a count.
        first: smallest code.
        last: largest code.
        gain: of a code, in the denominator's units.
        shift: of code 0.
        whole: numerators are rounded to multiples of this; 1 for no rounding.
    """

    low: int
    high: int
    over: int
    under: int
    first: int
    last: int
    gain: int
    shift: int
    whole: int = 1


class Conversions:
    """The conversions of every N_en from 0 to `rows`; with 0 rows nothing is converted, and p̂ = 0.

    Args:
        coding: its converter.
        holding: rows of the block that hold weights.
    """

    def __init__(self, coding: Coding, holding: int) -> None:
        nothing = Conversion(0, 0, 0, 1, 0, 0, 0, 0)
        rows = [nothing, *(conversion_of(coding, n_en, holding) for n_en in range(1, coding.rows + 1))]
        self.table = np.array([[getattr(row, one.name) for one in fields(Conversion)] for row in rows], np.int64)

    def convert(self, p: np.ndarray, n_en: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numerators int64 and which sums were outside the range, of sums int64 [n, m] of n_en [n] rows."""
        low, high, over, under, first, last, gain, shift, whole = self.table[n_en].T[:, :, None]
        inside = np.clip(p, low, high)
        codes = rhe((inside - np.where(low > -NO_BOUND, low, 0)) * over, under)
        kept = np.clip(codes, first, last)
        return rhe(kept * gain + shift, whole) * whole, (kept != codes) | (inside != p)


def drawn_alike(coding: Coding) -> Coding:
    """The coding but for what only draws of noise depend on: matrices that differ in no more share their tables."""
    return replace(coding, noise=replace(coding.noise, seed=0, stream=0)) if coding.noise is not None else coding


@lru_cache(maxsize=KEPT)
def conversions_of(coding: Coding, holding: int) -> Conversions:
    """The `Conversions` of a coding (`drawn_alike`): a matrix that is computed is prepared anew for every sample. Not to be written to."""
    return Conversions(coding, holding)


def rhe(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """Division of int64 by positive integers, to the nearest, half-way cases to even."""
    if np.all(denominators == 1):
        return numerators
    quotients, rests = np.divmod(numerators, denominators)
    return quotients + ((2 * rests > denominators) | ((2 * rests == denominators) & (quotients & 1 == 1)))


def divide(numerators: np.ndarray, denominator: int, dtype: np.dtype[np.signedinteger] = INT64) -> np.ndarray:
    """Results of numerators int64 over one denominator: to the nearest integer, half-way cases to even.

    Args:
        numerators: int64; sums of what `Prepared.multiply(x, fractions=True)` gives of a matrix's pieces along K.
        denominator: `Prepared.denominator`.
        dtype: of the result: `checks.result_type` of the whole matrix.
    """
    if denominator == 1:
        return numerators.astype(dtype, copy=False)
    if numerators.size and max(-int(numerators.min()), int(numerators.max()), denominator) < _EXACT:
        return np.rint(numerators / denominator).astype(dtype)
    return rhe(numerators, np.array(denominator)).astype(dtype, copy=False)


def conversion_of(coding: Coding, n_en: int, holding: int) -> Conversion:
    """The conversion of sums of `n_en` > 0 enabled rows of `holding`, exact ones recognized: codes are then the sums themselves."""
    noisy = noise.disturbs(coding)
    scale = noise.NOISE_STEPS if noisy else 1
    last = adc.top_code(coding)
    first = -last if adc.signed(coding) else 0
    converter = coding.converter
    match converter.mode:
        case "exact":
            return Conversion(-NO_BOUND, NO_BOUND, 1, scale, -NO_BOUND, NO_BOUND, 1, 0)
        case "step" | "clip":
            step = converter.step if converter.mode == "step" else 1
            return Conversion(-NO_BOUND, NO_BOUND, 1, step * scale, first, last, step, 0)
        case "range":
            low, span = converter.low, converter.high - converter.low
            steps = adc.range_steps(coding)
            return Conversion(low * scale, converter.high * scale, steps, span * scale, 0, steps, span, low * steps)
        case "charge":
            full, unit = adc.full_scale(coding, n_en, holding), adc.parasitic_unit(coding)
            if full > last * unit:
                return Conversion(-NO_BOUND, NO_BOUND, last * unit, full * scale, first, last, full, 0)
            if noisy:
                return Conversion(-NO_BOUND, NO_BOUND, last * unit, full * scale, first, last, full, 0, whole=last * unit)
            return Conversion(-NO_BOUND, NO_BOUND, 1, 1, -NO_BOUND, NO_BOUND, last * unit, 0)
