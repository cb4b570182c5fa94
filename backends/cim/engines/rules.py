"""Conversions as the kernel takes them: its kind and its numbers by N_en, and lanes wide enough for all of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import gcd

import numpy as np

from netwright.backends.cim.coding import adc, masks, noise, slicing
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.engines.conversions import KEPT, NO_BOUND, Conversion, conversions_of
from netwright.backends.cim.engines.reciprocals import reciprocal

COPY, SHIFT, CLAMP, DIVIDE, UNTIED, TIED = 0, 1, 2, 3, 4, 5
"""Kinds of conversions, as in `kernels`."""

KIND, PLACES, FIRST, LAST, GAIN, LEAST, MOST, ZERO, BEFORE, MULTIPLIER, AFTER, EVEN, ODD, AGAIN_OVER, AGAIN_UNDER = range(15)
"""Columns of `Rules.by_rows`."""

MOST_BINS = 1 << 24
"""Bins of the largest histogram of sums by rows: wider sums are left to the planes engine."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the kernel is told; see `kernels.product`.

    Attributes:
        words: type of the inputs' and weights' words.
        lanes: type of sums and codes: as wide, signed where sums are, or where they are disturbed.
        by_rows: int64 [rows + 1, 15], the columns above.
        scales: floats [rows + 1, 5]: least, most, zero, over, under.
        gain: of all N_en, left out of `by_rows` and multiplied at the end; or 1.
        shift: numerator of code 0, whatever N_en.
        groups: first digit of each group, and the end: codes of its digits add up within a lane.
        places: of each digit, its shift within its group.
        factors: of each group.
        partial: type that no sum over cells of such lanes overflows.
        total: type that no sum of codes overflows.
    """

    words: np.dtype[np.unsignedinteger]
    lanes: np.dtype[np.integer]
    by_rows: np.ndarray
    scales: np.ndarray
    gain: int
    shift: int
    groups: np.ndarray
    places: np.ndarray
    factors: np.ndarray
    partial: np.dtype[np.signedinteger]
    total: np.dtype[np.signedinteger]


@lru_cache(maxsize=KEPT)
def rules_of(coding: Coding, rows: int, holding: int, disturbed: int) -> Rules | str:
    """The rules of the blocks of `holding` rows of a matrix of `rows`, or why there are none.

    Args:
        coding: how; `conversions.drawn_alike`.
        rows: of the matrix.
        holding: rows of the block that hold weights.
        disturbed: the largest disturbance of a sum, in 256ths; 0 without noise.
    """
    most = coding.rows * adc.unit_sum(coding)
    if (coding.rows + 1) * (2 * most + 1) > MOST_BINS:
        return f"sums of {coding.rows} rows of up to {adc.unit_sum(coding)} are too many to tell apart"
    noisy = noise.disturbs(coding)
    reach = most * noise.NOISE_STEPS + disturbed if noisy else most
    table = conversions_of(coding, holding).table
    used = {n_en: Conversion(*(int(one) for one in table[n_en])) for n_en in reachable_rows(coding, holding)}
    largest = max(_largest(one, reach) for one in used.values())
    dtype = _float(list(used.values()), reach)
    lanes = _lanes(noisy or adc.signed(coding), noisy, reach, largest)
    if dtype is None:
        return "quotients of conversions are too fine for 53 bits"
    if lanes is None:
        return f"sums of {reach} or codes of {largest} do not fit lanes of 32 bits"
    words, kind, limit = lanes
    groups, places, factors = _groups(slicing.input_places(coding), largest, limit)
    gains = {one.gain if one.whole == 1 else one.whole for one in used.values()}
    common = gains.pop() if len(gains) == 1 else 0
    by_rows, scales = np.zeros((coding.rows + 1, AGAIN_UNDER + 1), np.int64), np.ones((coding.rows + 1, 5), dtype)
    for n_en, one in used.items():
        by_rows[n_en] = _rule(one, reach, kind, bool(common))
        scales[n_en] = _scales(one, reach)
    by_rows[:, FIRST : LAST + 1] = np.clip(by_rows[:, FIRST : LAST + 1], -limit, limit)
    cells = sum(map(abs, slicing.weight_places(coding)))
    bound = cells * sum(map(abs, slicing.input_places(coding))) * -(-rows // coding.rows) * largest
    partial = np.dtype(np.int32 if cells * limit < 1 << 31 else np.int64)
    total = np.dtype(np.int32 if common and bound < 1 << 31 else np.int64)
    shift = next(iter(used.values())).shift
    return Rules(words, kind, by_rows, scales, common or 1, shift, groups, places, factors, partial, total)


def reachable_rows(coding: Coding, holding: int) -> list[int]:
    """Every N_en > 0 that a block of `holding` rows can have."""
    found = {masks.unmasked_rows(coding, holding)}
    if masks.masked(coding):
        found.update(range(1, masks.most_kept(coding.masking, holding) + 1))
    return sorted(found)


def _largest(one: Conversion, reach: int) -> int:
    """The largest code's magnitude, of sums up to `reach`."""
    if one.low > -NO_BOUND:
        return one.last
    codes = min(one.last, -(-reach * one.over // one.under))
    return max(codes, -(-codes * one.gain // one.whole)) if one.whole > 1 else codes


def _rule(one: Conversion, reach: int, lanes: np.dtype[np.integer], common: bool) -> list[int]:
    """A row of `by_rows`."""
    gain, again = (one.gain, (1, 1)) if one.whole == 1 else (one.whole, (one.gain, one.whole))
    tail = [again[0] // gcd(*again), again[1] // gcd(*again)]
    gain = 1 if common else gain
    if one.low <= -NO_BOUND and one.over == 1:
        if one.under == 1:
            return [COPY if one.last >= NO_BOUND else CLAMP, 0, one.first, one.last, gain, *[0] * 8, *tail]
        places = one.under.bit_length() - 1
        if one.under == 1 << places:
            return [SHIFT, places, one.first, one.last, gain, *[0] * 8, *tail]
    least, most, zero, over, under = _scales(one, reach)
    limit, signed = int(np.iinfo(lanes).max), lanes.kind == "i"
    span = max(abs(most - zero), abs(least - zero))
    least, most = max(least, -limit if signed else 0), min(most, limit)
    found = reciprocal(over, under, span, lanes.itemsize * 8) if least <= most and span <= limit else None
    if found is None:
        return [DIVIDE, 0, one.first, one.last, gain, *[0] * 8, *tail]
    kind = UNTIED if found.even == found.odd else TIED
    numbers = [found.before, found.multiplier, found.after, found.even, found.odd]
    return [kind, 0, one.first, one.last, gain, least, most, zero, *numbers, *tail]


def _scales(one: Conversion, most: int) -> tuple[int, int, int, int, int]:
    """Least, most, zero, over, under; sums that no bound is set to are bounded by what they can be."""
    shared = gcd(one.over, one.under)
    least, highest, zero = (one.low, one.high, one.low) if one.low > -NO_BOUND else (-most, most, 0)
    return least, highest, zero, one.over // shared, one.under // shared


def _float(used: list[Conversion], most: int) -> np.dtype[np.floating] | None:
    """The type in which conversions by division are exact: float32, or float64; None for neither."""
    exact = 0
    for one in used:
        if one.whole > 1:
            return np.dtype(np.float64)
        least, highest, zero, over, under = _scales(one, most)
        exact = max(exact, under, (abs(least) + abs(zero)) * over, (abs(highest) + abs(zero)) * over, most)
    if exact >= 1 << 50:
        return None
    return np.dtype(np.float32 if exact <= 1 << 23 else np.float64)


def _lanes(signed: bool, wide: bool, most: int, largest: int) -> tuple[np.dtype[np.unsignedinteger], np.dtype[np.integer], int] | None:
    """The narrowest lanes that hold sums and codes; disturbed sums take wide ones."""
    for kind in map(np.dtype, (np.int16, np.int32) if signed else (np.uint16, np.uint32)):
        limit = int(np.iinfo(kind).max)
        if max(most, largest) < limit >> 1 and (kind.itemsize == 4 or not wide):
            return np.dtype(np.uint16 if kind.itemsize == 2 else np.uint32), kind, limit
    return None


def _groups(input_places: tuple[int, ...], largest: int, limit: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Consecutive digits of one sign whose codes, at their places, add up within a lane."""
    starts, shifts, factors = [0], list[int](), [input_places[0]]
    held = 0
    for digit, place in enumerate(input_places):
        relative = place // factors[-1]
        if digit and ((place < 0) != (factors[-1] < 0) or relative < 1 or held + relative * largest > limit):
            starts.append(digit)
            factors.append(place)
            held, relative = 0, 1
        held += relative * largest
        shifts.append(relative.bit_length() - 1)
    return np.array([*starts, len(input_places)], np.int64), np.array(shifts, np.int64), np.array(factors, np.int64)
