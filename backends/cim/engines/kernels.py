"""The popcount kernels for numba: columns are lanes, the input's words are broadcast, codes are gathered in lanes before they widen.

Imported only where numba is.
"""

# pyright: basic, reportCallIssue=false
from __future__ import annotations

import numba
import numpy as np

from netwright.backends.cim.engines.lanes import add, clamped, divided, popcount_and, rounded_shift, scaled_add, shifted_add
from netwright.backends.cim.engines.packing import WORDS

_compile = numba.njit(nogil=True, cache=True, boundscheck=False)


COPY, SHIFT, CLAMP, DIVIDE = 0, 1, 2, 3
"""Kinds of conversions: the sum itself, a step of a power of two, a step of 1, anything else."""


@_compile
def pack(x, planes):
    """Bit planes [N, bits, bytes] of padded inputs viewed as uint64 [N, bytes]: 8 × 8 bits transposed at a time."""
    for n in range(x.shape[0]):
        for byte in range(x.shape[1]):
            v = x[n, byte]
            t = (v ^ (v >> np.uint64(7))) & np.uint64(0x00AA00AA00AA00AA)
            v = v ^ t ^ (t << np.uint64(7))
            t = (v ^ (v >> np.uint64(14))) & np.uint64(0x0000CCCC0000CCCC)
            v = v ^ t ^ (t << np.uint64(14))
            t = (v ^ (v >> np.uint64(28))) & np.uint64(0x00000000F0F0F0F0)
            v = v ^ t ^ (t << np.uint64(28))
            for bit in range(planes.shape[1]):
                planes[n, bit, byte] = np.uint8(v >> np.uint64(8 * bit))


@_compile
def dot(x0, x1, x2, x3, x4, x5, x6, x7, w0, w1, w2, w3, w4, w5, w6, w7):
    """Popcount of eight words of two vectors of bits, in the words' own width."""
    low = add(add(popcount_and(x0, w0), popcount_and(x1, w1)), add(popcount_and(x2, w2), popcount_and(x3, w3)))
    high = add(add(popcount_and(x4, w4), popcount_and(x5, w5)), add(popcount_and(x6, w6), popcount_and(x7, w7)))
    return add(low, high)


@_compile
def add_pass(x, w, factor, fresh, p):
    """p[c] (+)= factor · popcount(x & w[:, c]) of eight words."""
    x0, x1, x2, x3, x4, x5, x6, x7 = x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]
    w0, w1, w2, w3, w4, w5, w6, w7 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]
    if fresh:
        p[:] = 0
    if factor == 1:
        for c in range(p.shape[0]):
            p[c] = add(p[c], dot(x0, x1, x2, x3, x4, x5, x6, x7, w0[c], w1[c], w2[c], w3[c], w4[c], w5[c], w6[c], w7[c]))
    else:
        for c in range(p.shape[0]):
            p[c] = scaled_add(p[c], dot(x0, x1, x2, x3, x4, x5, x6, x7, w0[c], w1[c], w2[c], w3[c], w4[c], w5[c], w6[c], w7[c]), factor)


@_compile
def convert_pass(x, w, kind, shift, first, last, places, t):
    """t[i, c] += code(popcount(x[i] & w[:, c])) · 2^places of eight words and two digits, kinds COPY, SHIFT and CLAMP."""
    x0, x1, x2, x3, x4, x5, x6, x7 = x[0, 0], x[0, 1], x[0, 2], x[0, 3], x[0, 4], x[0, 5], x[0, 6], x[0, 7]
    y0, y1, y2, y3, y4, y5, y6, y7 = x[1, 0], x[1, 1], x[1, 2], x[1, 3], x[1, 4], x[1, 5], x[1, 6], x[1, 7]
    w0, w1, w2, w3, w4, w5, w6, w7 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]
    t0, t1 = t[0], t[1]
    if kind == COPY:
        for c in range(t.shape[1]):
            p = dot(x0, x1, x2, x3, x4, x5, x6, x7, w0[c], w1[c], w2[c], w3[c], w4[c], w5[c], w6[c], w7[c])
            q = dot(y0, y1, y2, y3, y4, y5, y6, y7, w0[c], w1[c], w2[c], w3[c], w4[c], w5[c], w6[c], w7[c])
            t0[c] = shifted_add(t0[c], p, places)
            t1[c] = shifted_add(t1[c], q, places)
    elif kind == SHIFT:
        for c in range(t.shape[1]):
            p = dot(x0, x1, x2, x3, x4, x5, x6, x7, w0[c], w1[c], w2[c], w3[c], w4[c], w5[c], w6[c], w7[c])
            q = dot(y0, y1, y2, y3, y4, y5, y6, y7, w0[c], w1[c], w2[c], w3[c], w4[c], w5[c], w6[c], w7[c])
            t0[c] = shifted_add(t0[c], clamped(rounded_shift(p, shift), first, last), places)
            t1[c] = shifted_add(t1[c], clamped(rounded_shift(q, shift), first, last), places)
    else:
        for c in range(t.shape[1]):
            p = dot(x0, x1, x2, x3, x4, x5, x6, x7, w0[c], w1[c], w2[c], w3[c], w4[c], w5[c], w6[c], w7[c])
            q = dot(y0, y1, y2, y3, y4, y5, y6, y7, w0[c], w1[c], w2[c], w3[c], w4[c], w5[c], w6[c], w7[c])
            t0[c] = shifted_add(t0[c], clamped(p, first, last), places)
            t1[c] = shifted_add(t1[c], clamped(q, first, last), places)


@_compile
def sums(x, w, input_first, input_last, cell_first, cell_last, signs, p):
    """p[c] = Σ over planes of sign · 2^a · popcount(x & w), in the lanes' width; `signs` are factors of the cells' planes."""
    fresh = True
    for a in range(input_first, input_last):
        for c in range(cell_first, cell_last):
            for word in range(0, x.shape[1], WORDS):
                add_pass(x[a, word : word + WORDS], w[c, word : word + WORDS], signs[c] << (a - input_first), fresh, p)
                fresh = False


@_compile
def convert(p, rule, scale, places, t):
    """t[c] += code(p[c]) · 2^places."""
    kind, shift, first, last = rule[0], rule[1], rule[2], rule[3]
    least, most, zero, over, under = scale[0], scale[1], scale[2], scale[3], scale[4]
    if kind == COPY:
        for c in range(t.shape[0]):
            t[c] = shifted_add(t[c], p[c], places)
    elif kind == SHIFT:
        for c in range(t.shape[0]):
            t[c] = shifted_add(t[c], clamped(rounded_shift(p[c], shift), first, last), places)
    elif kind == CLAMP:
        for c in range(t.shape[0]):
            t[c] = shifted_add(t[c], clamped(p[c], first, last), places)
    else:
        for c in range(t.shape[0]):
            t[c] = shifted_add(t[c], clamped(divided(p[c], least, most, zero, over, under), first, last), places)


@_compile
def same_rule(rules, rows, others):
    """Whether two digits' sums are converted alike, and both are."""
    if others == 0:
        return False
    for column in range(4):  # noqa: SIM110 — a generator does not compile
        if rules[rows, column] != rules[others, column]:
            return False
    return True


@_compile
def product(x, w, n_en, spans, cells, signs, groups, places, factors, digit_factors, rules, scales, p, t, total):
    """total[n] += Σ over digits and groups of cells: digit factor · group factor · gain · Σ over its cells of code · 2^place.

    Args:
        x: words [N, input planes, words].
        w: words [cell planes, words, J].
        n_en: [digits, N].
        spans: first input plane of each digit, and the end.
        cells: first plane of each cell, and the end.
        signs: factor of each cell plane.
        groups: first cell of each group, and the end.
        places: of each cell, shift within its group.
        factors: of each group.
        digit_factors: of each digit.
        rules: by n_en: kind, shift, first code, last code, gain.
        scales: by n_en, floats: see `divided`.
        p: lanes for sums.
        t: lanes [2, J] for codes of two digits.
        total: [N, J], of a width that nothing overflows.
    """
    digits = n_en.shape[0]
    plain = x.shape[2] == WORDS and spans[digits] == digits and cells[cells.shape[0] - 1] == cells.shape[0] - 1
    for n in range(x.shape[0]):
        digit = 0
        while digit < digits:
            rows = n_en[digit, n]
            if rows == 0:
                digit += 1
                continue
            together = 1
            if plain and digit + 1 < digits and rules[rows, 0] != DIVIDE and same_rule(rules, rows, n_en[digit + 1, n]):
                together = 2
            for group in range(groups.shape[0] - 1):
                t[:] = 0
                for cell in range(groups[group], groups[group + 1]):
                    if together == 2:
                        kind, shift, first, last = rules[rows, 0], rules[rows, 1], rules[rows, 2], rules[rows, 3]
                        convert_pass(x[n, digit : digit + 2], w[cell], kind, shift, first, last, places[cell], t)
                        continue
                    sums(x[n], w, spans[digit], spans[digit + 1], cells[cell], cells[cell + 1], signs, p)
                    convert(p, rules[rows], scales[rows], places[cell], t[0])
                for index in range(together):
                    factor = digit_factors[digit + index] * factors[group] * rules[n_en[digit + index, n], 4]
                    into, lanes = total[n], t[index]
                    for c in range(into.shape[0]):
                        into[c] = scaled_add(into[c], lanes[c], factor)
            digit += together


@_compile
def histogram(x, w, numbers, spans, cells, signs, offset, p, counts):
    """Count sums by a number of their rows, from 1 on, 0 for none: counts[c % 4, number − 1, p + offset] += 1.

    Neighbouring columns count in different tables: an increment need not wait for the last one's.
    """
    for n in range(x.shape[0]):
        for digit in range(numbers.shape[0]):
            if numbers[digit, n] == 0:
                continue
            row = numbers[digit, n] - 1
            for cell in range(cells.shape[0] - 1):
                sums(x[n], w, spans[digit], spans[digit + 1], cells[cell], cells[cell + 1], signs, p)
                for c in range(p.shape[0]):
                    counts[c & 3, row, np.int64(p[c]) + offset] += 1


@_compile
def enabled_rows(planes, spans, by_value, most_kept, unmasked, n_en):
    """n_en[digit, n] of masks row by row, from the bit planes' uint64 words [N, planes, words]."""
    digits = spans.shape[0] - 1
    for n in range(planes.shape[0]):
        for digit in range(digits):
            first, last = (0, spans[digits]) if by_value else (spans[digit], spans[digit + 1])
            kept = 0
            if digit and by_value:
                n_en[digit, n] = n_en[0, n]
                continue
            for word in range(planes.shape[2]):
                both = np.uint64(0)
                for plane in range(first, last):
                    both |= planes[n, plane, word]
                kept += np.int64(popcount_and(both, both))
            n_en[digit, n] = kept if kept <= most_kept else unmasked


@_compile
def enabled_groups(x, group, lows, bits, most_kept, unmasked, n_en):
    """n_en[digit, n] of masks by groups of rows, from inputs [N, holding] as unsigned; a digit is `bits` from `lows` on."""
    for n in range(x.shape[0]):
        n_en[:, n] = 0
        for start in range(0, x.shape[1], group):
            stop = min(start + group, x.shape[1])
            both = np.int64(0)
            for row in range(start, stop):
                both |= np.int64(x[n, row])
            for digit in range(lows.shape[0]):
                if (both >> lows[digit]) & bits[digit]:
                    n_en[digit, n] += stop - start
        for digit in range(lows.shape[0]):
            if n_en[digit, n] > most_kept:
                n_en[digit, n] = unmasked


@_compile
def driven_bits(x, sums):
    """sums[k] += popcount of the bytes of row k."""
    for n in range(x.shape[0]):
        for row in range(x.shape[1]):
            sums[row] += popcount_and(x[n, row], x[n, row])


@_compile
def driven_digits(x, digit_sums, digit_counts, sums):
    """sums[k] += digits of row k, by table; returns how many are not 0."""
    nonzero = np.int64(0)
    for n in range(x.shape[0]):
        for row in range(x.shape[1]):
            sums[row] += digit_sums[x[n, row]]
            nonzero += digit_counts[x[n, row]]
    return nonzero
