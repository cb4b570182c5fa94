"""Division by multiplication: a quotient rounded half to even by the upper half of a product of lanes, where that is provably exact.

    code = ⌊⌊(m · 2^before + b) · multiplier / 2^W⌋ / 2^after⌋ = rhe(m · over / under)       for all whole m, 0 ≤ m ≤ most

in lanes of W bits, where b is `even` or `odd` as the same with b = 0, ⌊m · over / under⌋, is: half-way cases then fall to the even side.

Proof. With a = multiplier · 2^(before − W − after), the code is ⌊m·over/under + ½ + e(m)⌋, whose error e(m) = m·(a − over/under) +
b·a/2^before − ½ is linear in m: its bounds are those at 0 and at `most`. m·over/under + ½ is a whole number (half-way cases, if `under`
is even) or at least 1/under (1/(2·under), if it is odd) from one, in lowest terms. So it suffices that |e| < 1/(2·under) where `under`
is odd, and elsewhere that −1/under ≤ e < 0 with `even` and 0 ≤ e < 1/under with `odd`; in half-way cases the quotient without b is
half-way between whole numbers, and right.

Source: after Granlund and Montgomery, "Division by invariant integers using multiplication", PLDI 1994.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import gcd


@dataclass(frozen=True, slots=True)
class Reciprocal:
    """The numbers of the module's formula; `odd` is `even` where there are no half-way cases."""

    before: int
    multiplier: int
    after: int
    even: int
    odd: int


@lru_cache(maxsize=1 << 14)
def reciprocal(over: int, under: int, most: int, width: int) -> Reciprocal | None:
    """What `rhe(m · over / under)` of 0 ≤ m ≤ `most` is computed by in lanes of `width` bits; None where no multiplier is proven."""
    shared = gcd(over, under)
    over, under = over // shared, under // shared
    limit = 1 << width
    before = (limit // (most + 1 + under // (2 * over) + 1)).bit_length() - 1
    after = width + before - (over * limit // under).bit_length() if over else -1
    while after >= 0:
        floor = (over << (width + after - before)) // under if width + after >= before else 0
        for multiplier in (floor, floor + 1):
            found = _proven(over, under, most, width, before, multiplier, after) if 0 < multiplier < limit else None
            if found is not None and (most << before) + max(found.even, found.odd) < limit:
                return found
        after -= 1
        if floor < limit >> 3:
            break
    return None


def _proven(over: int, under: int, most: int, width: int, before: int, multiplier: int, after: int) -> Reciprocal | None:
    """Biases for which the errors are within bounds, all over 2 · under · 2^(width + after)."""
    power = 1 << (width + after)
    one = 2 * under * power
    drift = most * ((multiplier << before) * under - over * power) * 2
    unit = multiplier * 2 * under
    highest, lowest = max(drift, 0), min(drift, 0)
    if under % 2:
        bias = (one // 2 - (highest + lowest) // 2) // unit
        for even in (bias, bias + 1):
            error = even * unit - one // 2
            if even >= 0 and error + highest < power and error + lowest > -power:
                return Reciprocal(before, multiplier, after, even, even)
        return None
    even = -(-(one // 2 - highest) // unit) - 1
    odd = -(-(one // 2 - lowest) // unit)
    if even < 0 or even * unit - one // 2 + lowest < -2 * power or odd * unit - one // 2 + highest >= 2 * power:
        return None
    return Reciprocal(before, multiplier, after, even, odd)
