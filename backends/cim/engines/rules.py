"""Conversions as the kernel takes them: its kind and its numbers by N_en, and lanes wide enough for all of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np

from netwright.backends.cim.coding import adc, masks, slicing
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.engines.conversions import NO_BOUND, Conversion, Conversions

COPY, SHIFT, CLAMP, DIVIDE = 0, 1, 2, 3
"""Kinds of conversions, as in `kernels`."""


MOST_BINS = 1 << 24
"""Bins of the largest histogram of sums by rows: wider sums are left to the planes engine."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the kernel is told; see `kernels.product`.

    Attributes:
        words: type of the inputs' and weights' words.
        lanes: type of sums and codes: as wide, signed where sums are.
        by_rows: int64 [rows + 1, 5]: kind, shift, first code, last code, gain.
        scales: floats [rows + 1, 5]: least, most, zero, over, under.
        gain: of all N_en, left out of `by_rows` and multiplied at the end; or 1.
        shift: numerator of code 0, whatever N_en.
        groups: first cell of each group, and the end.
        places: of each cell, its shift within its group.
        factors: of each group.
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
    total: np.dtype[np.signedinteger]


def rules_of(coding: Coding, conversions: Conversions, rows: int) -> Rules | None:
    """The rules of a matrix of `rows` rows; None where no lanes are wide enough, or quotients too fine for 53 bits."""
    if coding.noise is not None:
        return None
    most = coding.rows * adc.unit_sum(coding)
    used = {n_en: Conversion(*(int(one) for one in conversions.table[n_en])) for n_en in reachable_rows(coding, rows)}
    largest = max(_largest(one, most) for one in used.values())
    dtype = _float(list(used.values()), most)
    lanes = _lanes(coding, most, largest)
    if dtype is None or lanes is None or (coding.rows + 1) * (2 * most + 1) > MOST_BINS:
        return None
    words, kind, limit = lanes
    groups, places, factors = _groups(slicing.weight_places(coding), largest, limit)
    gains = {one.gain for one in used.values()}
    common = gains.pop() if len(gains) == 1 else 0
    by_rows, scales = np.zeros((coding.rows + 1, 5), np.int64), np.ones((coding.rows + 1, 5), dtype)
    for n_en, one in used.items():
        by_rows[n_en] = [*_kind(one), 1 if common else one.gain]
        scales[n_en] = _scales(one, most)
    by_rows[:, 2:4] = np.clip(by_rows[:, 2:4], -limit, limit)
    reach = sum(map(abs, slicing.weight_places(coding))) * sum(map(abs, slicing.input_places(coding))) * -(-rows // coding.rows) * largest
    total = np.dtype(np.int32 if common and reach < 1 << 31 else np.int64)
    shift = next(iter(used.values())).shift
    return Rules(words, kind, by_rows, scales, common or 1, shift, groups, places, factors, total)


def reachable_rows(coding: Coding, rows: int) -> list[int]:
    """Every N_en > 0 that the blocks of a matrix of `rows` rows can have."""
    found: set[int] = set()
    for holding in {min(rows, coding.rows), rows % coding.rows} - {0}:
        found.add(masks.unmasked_rows(coding, holding))
        if masks.masked(coding):
            found.update(range(1, masks.most_kept(coding.masking, holding) + 1))
    return sorted(found)


def _largest(one: Conversion, most: int) -> int:
    """The largest code's magnitude, of sums up to `most`."""
    return min(one.last, most) if one.over == one.under == 1 else one.last


def _kind(one: Conversion) -> tuple[int, int, int, int]:
    bounded = one.low > -NO_BOUND
    if bounded or one.over != 1:
        return DIVIDE, 0, one.first, one.last
    if one.under == 1:
        return (COPY if one.last >= NO_BOUND else CLAMP), 0, one.first, one.last
    places = one.under.bit_length() - 1
    return (SHIFT if one.under == 1 << places else DIVIDE), places, one.first, one.last


def _scales(one: Conversion, most: int) -> tuple[int, int, int, int, int]:
    """Least, most, zero, over, under; sums that no bound is set to are bounded by what they can be."""
    shared = gcd(one.over, one.under)
    least, highest, zero = (one.low, one.high, one.low) if one.low > -NO_BOUND else (-most, most, 0)
    return least, highest, zero, one.over // shared, one.under // shared


def _float(used: list[Conversion], most: int) -> np.dtype[np.floating] | None:
    """The type in which conversions by division are exact: float32, or float64; None for neither."""
    exact = 0
    for one in used:
        least, highest, zero, over, under = _scales(one, most)
        exact = max(exact, under, (abs(least) + abs(zero)) * over, (abs(highest) + abs(zero)) * over, most)
    if exact >= 1 << 50:
        return None
    return np.dtype(np.float32 if exact <= 1 << 23 else np.float64)


def _lanes(coding: Coding, most: int, largest: int) -> tuple[np.dtype[np.unsignedinteger], np.dtype[np.integer], int] | None:
    """The narrowest lanes that hold sums and codes."""
    kinds = (np.int16, np.int32) if adc.signed(coding) else (np.uint16, np.uint32)
    for kind in map(np.dtype, kinds):
        limit = int(np.iinfo(kind).max)
        if max(most, largest) < limit >> 1:
            return np.dtype(np.uint16 if kind.itemsize == 2 else np.uint32), kind, limit
    return None


def _groups(weight_places: tuple[int, ...], largest: int, limit: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Consecutive cells of one sign whose codes, at their places, add up within a lane."""
    starts, shifts, factors = [0], list[int](), [weight_places[0]]
    held = 0
    for cell, place in enumerate(weight_places):
        relative = place // factors[-1]
        if cell and ((place < 0) != (factors[-1] < 0) or relative < 1 or held + relative * largest > limit):
            starts.append(cell)
            factors.append(place)
            held, relative = 0, 1
        held += relative * largest
        shifts.append(relative.bit_length() - 1)
    return np.array([*starts, len(weight_places)], np.int64), np.array(shifts, np.int64), np.array(factors, np.int64)
