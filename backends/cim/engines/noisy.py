"""Kernels for numba of disturbed sums: the draws of `coding.noise`, by the same counters, added before conversion.

Imported only where numba is.
"""

# pyright: basic, reportCallIssue=false
from __future__ import annotations

import numpy as np

from netwright.backends.cim.coding.noise import FIRST, GOLDEN, SECOND, TABLE_BITS
from netwright.backends.cim.engines.kernels import compiled, convert, flush, sums
from netwright.backends.cim.engines.lanes import divided

_GOLDEN, _FIRST, _SECOND = np.uint64(GOLDEN), np.uint64(FIRST), np.uint64(SECOND)
_TOP = np.uint64(64 - TABLE_BITS)


@compiled
def mixed(state):
    """`noise.mix`."""
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))


@compiled
def key_with(key, number):
    """One more number mixed into a key."""
    return mixed(key + _GOLDEN * (np.uint64(number) + np.uint64(1)))


@compiled
def disturb(p, cells, outputs, key, steps, table):
    """Sums p become 256ths, each with the draw of its conversion: `key` of all but cell and column, `steps` of the columns."""
    for c in range(p.shape[0]):
        p[c] = p[c] * 256
    if not table.shape[0]:
        return
    for cell in range(cells):
        own, lanes = key_with(key, cell), p[cell * outputs : (cell + 1) * outputs]
        for j in range(outputs):
            lanes[j] += table[np.int64(mixed(own + steps[j]) >> _TOP)]


@compiled
def disturbed_product(
    x, w, n_en, spans, signs, groups, places, factors, cell_places, rules, scales, p, t, u, total, keys, block, steps, table, extra
):
    """As `kernels.product`, of disturbed sums.

    Args, beside its own:
        keys: uint64 [N], of seed, stream and vector.
        block: number of the block.
        steps: uint64 [J], what a column adds to a key before it is mixed.
        table: int32, of draws; empty where conversions have no noise.
        extra: int32 [digits, N, lanes], what the cells' deviations add; empty where they have none.
    """
    code = np.empty_like(p)
    for n in range(x.shape[0]):
        key = key_with(keys[n], block)
        for group in range(groups.shape[0] - 1):
            gain, held = np.int64(0), False
            for digit in range(groups[group], groups[group + 1]):
                rows = n_en[digit, n]
                if rows == 0:
                    continue
                if held and rules[rows, 4] != gain:
                    flush(t, cell_places, factors[group] * gain, u, total[n])
                gain, held = rules[rows, 4], True
                sums(x[n], w, spans[digit], spans[digit + 1], signs, p)
                disturb(p, cell_places.shape[0], u.shape[0], key_with(key, digit), steps, table)
                if extra.shape[0]:
                    for c in range(p.shape[0]):
                        p[c] += extra[digit, n, c]
                over, under = rules[rows, 13], rules[rows, 14]
                if under == 1:
                    convert(p, rules[rows], scales[rows], places[digit], t)
                    continue
                code[:] = 0
                convert(p, rules[rows], scales[rows], 0, code)
                last = np.float64(rules[rows, 3])
                for c in range(p.shape[0]):
                    whole = divided(code[c], -last, last, 0.0, np.float64(over), np.float64(under))
                    t[c] += whole << places[digit]
            if held:
                flush(t, cell_places, factors[group] * gain, u, total[n])


@compiled
def disturbed_tally(x, w, n_en, spans, signs, outputs, cells, conversions, unit, p, keys, block, steps, table, extra):
    """How many conversions were clamped, and of how many p̂ is not p, by `conversions.Conversions`' table."""
    saturated, inexact = np.int64(0), np.int64(0)
    plain = np.empty_like(p)
    for n in range(x.shape[0]):
        key = key_with(keys[n], block)
        for digit in range(n_en.shape[0]):
            rows = n_en[digit, n]
            if rows == 0:
                continue
            low, high, over, under, first, last, gain, shift, whole = conversions[rows]
            sums(x[n], w, spans[digit], spans[digit + 1], signs, plain)
            p[:] = plain
            disturb(p, cells, outputs, key_with(key, digit), steps, table)
            for c in range(cells * outputs):
                value = np.int64(p[c]) + (np.int64(extra[digit, n, c]) if extra.shape[0] else 0)
                inside = min(max(value, low), high)
                code = nearest((inside - (low if low > -(1 << 40) else 0)) * over, under)
                kept = min(max(code, first), last)
                numerator = nearest(kept * gain + shift, whole) * whole
                saturated += kept != code or inside != value
                inexact += numerator != np.int64(plain[c]) * unit
    return saturated, inexact


@compiled
def nearest(numerator, denominator):
    """The nearest integer to a fraction, half-way cases to even."""
    quotient = numerator // denominator
    rest = 2 * (numerator - quotient * denominator)
    return quotient + (1 if rest > denominator or (rest == denominator and quotient & 1) else 0)
