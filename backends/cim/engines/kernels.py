"""The popcount kernels for numba: cells and columns are lanes, the input's words are broadcast, digits' codes are gathered in lanes.

Imported only where numba is.
"""

# pyright: basic, reportCallIssue=false
from __future__ import annotations

import numba

from netwright.backends.cim.engines.lanes import (
    add,
    clamped,
    divided,
    popcount_and,
    rounded_shift,
    scaled_add,
    shifted_add,
    tied,
    untied,
)
from netwright.backends.cim.engines.packing import WORDS

compiled = numba.njit(nogil=True, cache=True, boundscheck=False)

COPY, SHIFT, CLAMP, DIVIDE, UNTIED, TIED = 0, 1, 2, 3, 4, 5
"""Kinds of conversions: the sum itself, a step of a power of two, a step of 1, a quotient of floats, and by multiplication."""


@compiled
def dot(x0, x1, x2, x3, x4, x5, x6, x7, w0, w1, w2, w3, w4, w5, w6, w7):
    """Popcount of eight words of two vectors of bits, in the words' own width."""
    low = add(add(popcount_and(x0, w0), popcount_and(x1, w1)), add(popcount_and(x2, w2), popcount_and(x3, w3)))
    high = add(add(popcount_and(x4, w4), popcount_and(x5, w5)), add(popcount_and(x6, w6), popcount_and(x7, w7)))
    return add(low, high)


@compiled
def add_words(x, w, factor, p):
    """p[c] += factor · popcount(x & w[:, c]) of 1, 2, 4 or 8 words."""
    words = x.shape[0]
    if words == 1:
        x0, w0 = x[0], w[0]
        for c in range(p.shape[0]):
            p[c] = scaled_add(p[c], popcount_and(x0, w0[c]), factor)
    elif words == 2:
        x0, x1, w0, w1 = x[0], x[1], w[0], w[1]
        for c in range(p.shape[0]):
            p[c] = scaled_add(p[c], add(popcount_and(x0, w0[c]), popcount_and(x1, w1[c])), factor)
    elif words == 4:
        x0, x1, x2, x3, w0, w1, w2, w3 = x[0], x[1], x[2], x[3], w[0], w[1], w[2], w[3]
        for c in range(p.shape[0]):
            low, high = add(popcount_and(x0, w0[c]), popcount_and(x1, w1[c])), add(popcount_and(x2, w2[c]), popcount_and(x3, w3[c]))
            p[c] = scaled_add(p[c], add(low, high), factor)
    else:
        x0, x1, x2, x3, x4, x5, x6, x7 = x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]
        w0, w1, w2, w3, w4, w5, w6, w7 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]
        for c in range(p.shape[0]):
            p[c] = scaled_add(p[c], dot(x0, x1, x2, x3, x4, x5, x6, x7, w0[c], w1[c], w2[c], w3[c], w4[c], w5[c], w6[c], w7[c]), factor)


@compiled
def sums(x, w, first, last, signs, p):
    """p[c] = Σ over planes of sign · 2^a · popcount(x & w) of one digit's planes and a cell's, in the lanes' width."""
    p[:] = 0
    for a in range(first, last):
        for plane in range(signs.shape[0]):
            word = 0
            while word < w.shape[1]:
                step = min(WORDS, w.shape[1] - word)
                add_words(x[a, word : word + step], w[plane, word : word + step], signs[plane] << (a - first), p)
                word += step


@compiled
def convert(p, rule, scale, places, t):
    """t[c] += code(p[c]) · 2^places."""
    kind, shift, first, last = rule[0], rule[1], rule[2], rule[3]
    if kind == COPY:
        for c in range(t.shape[0]):
            t[c] = shifted_add(t[c], p[c], places)
    elif kind == SHIFT:
        for c in range(t.shape[0]):
            t[c] = shifted_add(t[c], clamped(rounded_shift(p[c], shift), first, last), places)
    elif kind == CLAMP:
        for c in range(t.shape[0]):
            t[c] = shifted_add(t[c], clamped(p[c], first, last), places)
    elif kind == DIVIDE:
        least, most, zero, over, under = scale[0], scale[1], scale[2], scale[3], scale[4]
        for c in range(t.shape[0]):
            t[c] = shifted_add(t[c], clamped(divided(p[c], least, most, zero, over, under), first, last), places)
    else:
        least, most, zero, before, multiplier, after, even, odd = rule[5], rule[6], rule[7], rule[8], rule[9], rule[10], rule[11], rule[12]
        if kind == UNTIED:
            for c in range(t.shape[0]):
                code = untied(p[c], least, most, zero, before, multiplier, after, even, odd)
                t[c] = shifted_add(t[c], clamped(code, first, last), places)
        else:
            for c in range(t.shape[0]):
                code = tied(p[c], least, most, zero, before, multiplier, after, even, odd)
                t[c] = shifted_add(t[c], clamped(code, first, last), places)


@compiled
def convert_pair(x, y, w, rule, places, others, t):
    """t[c] += code(popcount(x & w[:, c])) · 2^places + code(popcount(y & w[:, c])) · 2^others of eight words, kinds COPY, SHIFT, CLAMP."""
    kind, shift, first, last = rule[0], rule[1], rule[2], rule[3]
    x0, x1, x2, x3, x4, x5, x6, x7 = x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]
    y0, y1, y2, y3, y4, y5, y6, y7 = y[0], y[1], y[2], y[3], y[4], y[5], y[6], y[7]
    w0, w1, w2, w3, w4, w5, w6, w7 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]
    if kind == COPY:
        for c in range(t.shape[0]):
            p = dot(x0, x1, x2, x3, x4, x5, x6, x7, w0[c], w1[c], w2[c], w3[c], w4[c], w5[c], w6[c], w7[c])
            q = dot(y0, y1, y2, y3, y4, y5, y6, y7, w0[c], w1[c], w2[c], w3[c], w4[c], w5[c], w6[c], w7[c])
            t[c] = shifted_add(shifted_add(t[c], p, places), q, others)
    elif kind == SHIFT:
        for c in range(t.shape[0]):
            p = dot(x0, x1, x2, x3, x4, x5, x6, x7, w0[c], w1[c], w2[c], w3[c], w4[c], w5[c], w6[c], w7[c])
            q = dot(y0, y1, y2, y3, y4, y5, y6, y7, w0[c], w1[c], w2[c], w3[c], w4[c], w5[c], w6[c], w7[c])
            p, q = clamped(rounded_shift(p, shift), first, last), clamped(rounded_shift(q, shift), first, last)
            t[c] = shifted_add(shifted_add(t[c], p, places), q, others)
    else:
        for c in range(t.shape[0]):
            p = dot(x0, x1, x2, x3, x4, x5, x6, x7, w0[c], w1[c], w2[c], w3[c], w4[c], w5[c], w6[c], w7[c])
            q = dot(y0, y1, y2, y3, y4, y5, y6, y7, w0[c], w1[c], w2[c], w3[c], w4[c], w5[c], w6[c], w7[c])
            t[c] = shifted_add(shifted_add(t[c], clamped(p, first, last), places), clamped(q, first, last), others)


@compiled
def divide_pair(x, y, w, rule, places, others, t):
    """As `convert_pair`, kinds UNTIED and TIED."""
    tie, first, last = rule[0] == TIED, rule[2], rule[3]
    least, most, zero, before, multiplier, after, even, odd = rule[5], rule[6], rule[7], rule[8], rule[9], rule[10], rule[11], rule[12]
    x0, x1, x2, x3, x4, x5, x6, x7 = x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]
    y0, y1, y2, y3, y4, y5, y6, y7 = y[0], y[1], y[2], y[3], y[4], y[5], y[6], y[7]
    w0, w1, w2, w3, w4, w5, w6, w7 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]
    for c in range(t.shape[0]):
        p = dot(x0, x1, x2, x3, x4, x5, x6, x7, w0[c], w1[c], w2[c], w3[c], w4[c], w5[c], w6[c], w7[c])
        q = dot(y0, y1, y2, y3, y4, y5, y6, y7, w0[c], w1[c], w2[c], w3[c], w4[c], w5[c], w6[c], w7[c])
        if tie:
            p = tied(p, least, most, zero, before, multiplier, after, even, odd)
            q = tied(q, least, most, zero, before, multiplier, after, even, odd)
        else:
            p = untied(p, least, most, zero, before, multiplier, after, even, odd)
            q = untied(q, least, most, zero, before, multiplier, after, even, odd)
        t[c] = shifted_add(shifted_add(t[c], clamped(p, first, last), places), clamped(q, first, last), others)


@compiled
def convert_four(x, y, w, rule, places, others, t):
    """As `convert_pair`, of four words."""
    kind, shift, first, last = rule[0], rule[1], rule[2], rule[3]
    x0, x1, x2, x3, y0, y1, y2, y3 = x[0], x[1], x[2], x[3], y[0], y[1], y[2], y[3]
    w0, w1, w2, w3 = w[0], w[1], w[2], w[3]
    for c in range(t.shape[0]):
        a, b, d, e = w0[c], w1[c], w2[c], w3[c]
        p = add(add(popcount_and(x0, a), popcount_and(x1, b)), add(popcount_and(x2, d), popcount_and(x3, e)))
        q = add(add(popcount_and(y0, a), popcount_and(y1, b)), add(popcount_and(y2, d), popcount_and(y3, e)))
        if kind == SHIFT:
            p, q = rounded_shift(p, shift), rounded_shift(q, shift)
        if kind != COPY:
            p, q = clamped(p, first, last), clamped(q, first, last)
        t[c] = shifted_add(shifted_add(t[c], p, places), q, others)


@compiled
def convert_two(x, w, rule, places, t):
    """As `convert_short`, of four digits and two words."""
    kind, shift, first, last = rule[0], rule[1], rule[2], rule[3]
    x0, x1, x2, x3 = x[0, 0], x[1, 0], x[2, 0], x[3, 0]
    y0, y1, y2, y3 = x[0, 1], x[1, 1], x[2, 1], x[3, 1]
    s0, s1, s2, s3 = places[0], places[1], places[2], places[3]
    w0, w1 = w[0], w[1]
    for c in range(t.shape[0]):
        a, b = w0[c], w1[c]
        p0, p1 = add(popcount_and(x0, a), popcount_and(y0, b)), add(popcount_and(x1, a), popcount_and(y1, b))
        p2, p3 = add(popcount_and(x2, a), popcount_and(y2, b)), add(popcount_and(x3, a), popcount_and(y3, b))
        if kind == SHIFT:
            p0, p1, p2, p3 = rounded_shift(p0, shift), rounded_shift(p1, shift), rounded_shift(p2, shift), rounded_shift(p3, shift)
        if kind != COPY:
            p0, p1, p2, p3 = clamped(p0, first, last), clamped(p1, first, last), clamped(p2, first, last), clamped(p3, first, last)
        t[c] = shifted_add(shifted_add(shifted_add(shifted_add(t[c], p0, s0), p1, s1), p2, s2), p3, s3)


@compiled
def convert_short(x, w, rule, places, t):
    """t[c] += Σ over eight digits of code(popcount(x[digit] & w[c])) · 2^places[digit] of one word each, kinds COPY, SHIFT, CLAMP."""
    kind, shift, first, last = rule[0], rule[1], rule[2], rule[3]
    x0, x1, x2, x3, x4, x5, x6, x7 = x[0, 0], x[1, 0], x[2, 0], x[3, 0], x[4, 0], x[5, 0], x[6, 0], x[7, 0]
    s0, s1, s2, s3, s4, s5, s6, s7 = places[0], places[1], places[2], places[3], places[4], places[5], places[6], places[7]
    for c in range(t.shape[0]):
        v = w[c]
        p0, p1, p2, p3 = popcount_and(x0, v), popcount_and(x1, v), popcount_and(x2, v), popcount_and(x3, v)
        p4, p5, p6, p7 = popcount_and(x4, v), popcount_and(x5, v), popcount_and(x6, v), popcount_and(x7, v)
        if kind == SHIFT:
            p0, p1, p2, p3 = rounded_shift(p0, shift), rounded_shift(p1, shift), rounded_shift(p2, shift), rounded_shift(p3, shift)
            p4, p5, p6, p7 = rounded_shift(p4, shift), rounded_shift(p5, shift), rounded_shift(p6, shift), rounded_shift(p7, shift)
        if kind != COPY:
            p0, p1, p2, p3 = clamped(p0, first, last), clamped(p1, first, last), clamped(p2, first, last), clamped(p3, first, last)
            p4, p5, p6, p7 = clamped(p4, first, last), clamped(p5, first, last), clamped(p6, first, last), clamped(p7, first, last)
        low = shifted_add(shifted_add(shifted_add(shifted_add(t[c], p0, s0), p1, s1), p2, s2), p3, s3)
        t[c] = shifted_add(shifted_add(shifted_add(shifted_add(low, p4, s4), p5, s5), p6, s6), p7, s7)


@compiled
def flush(t, cell_places, factor, u, into):
    """into[j] += factor · Σ over cells of place · t[cell · J + j]; t is cleared."""
    u[:] = 0
    for cell in range(cell_places.shape[0]):
        place, lanes = cell_places[cell], t[cell * u.shape[0] : (cell + 1) * u.shape[0]]
        for j in range(u.shape[0]):
            u[j] = scaled_add(u[j], lanes[j], place)
    for j in range(u.shape[0]):
        into[j] = scaled_add(into[j], u[j], factor)
    t[:] = 0


@compiled
def alike(rules, n_en, n, first, count):
    """Whether all of some digits' sums are converted, by one rule."""
    rows = n_en[first, n]
    for digit in range(first + 1, first + count):
        others = n_en[digit, n]
        if others == rows:
            continue
        if others == 0:
            return False
        for column in range(rules.shape[1]):
            if rules[rows, column] != rules[others, column]:
                return False
    return True


@compiled
def product(x, w, n_en, spans, signs, groups, places, factors, cell_places, rules, scales, p, t, u, total):
    """total[n] += Σ over groups of digits and cells: group factor · gain · cell place · Σ over its digits of code · 2^place.

    Args:
        x: words [N, input planes, words or more].
        w: words [planes of a cell, words, lanes].
        n_en: [digits, N].
        spans: first input plane of each digit, and the end.
        signs: factor of each of a cell's planes.
        groups: first digit of each group, and the end.
        places: of each digit, shift within its group.
        factors: of each group.
        cell_places: of each cell.
        rules: by n_en: kind, shift, first code, last code, gain, the numbers of `reciprocals`.
        scales: by n_en, floats: see `divided`.
        p: lanes for sums.
        t: lanes for codes, zeros.
        u: [J], of a width that no sum over cells overflows.
        total: [N, J], of a width that nothing overflows.
    """
    words, digits = w.shape[1], n_en.shape[0]
    plain = spans[digits] == digits and signs.shape[0] == 1 and signs[0] == 1
    for n in range(x.shape[0]):
        for group in range(groups.shape[0] - 1):
            digit, stop, gain, held = groups[group], groups[group + 1], 0, False
            while digit < stop:
                rows = n_en[digit, n]
                if rows == 0:
                    digit += 1
                    continue
                if held and rules[rows, 4] != gain:
                    flush(t, cell_places, factors[group] * gain, u, total[n])
                gain, held = rules[rows, 4], True
                simple = plain and rules[rows, 0] <= CLAMP
                if simple and words == 1 and stop - digit >= 8 and alike(rules, n_en, n, digit, 8):
                    convert_short(x[n, digit : digit + 8], w[0, 0], rules[rows], places[digit : digit + 8], t)
                    digit += 8
                elif simple and words == 2 and stop - digit >= 4 and alike(rules, n_en, n, digit, 4):
                    convert_two(x[n, digit : digit + 4], w[0], rules[rows], places[digit : digit + 4], t)
                    digit += 4
                elif simple and words == 4 and stop - digit >= 2 and alike(rules, n_en, n, digit, 2):
                    convert_four(x[n, digit], x[n, digit + 1], w[0], rules[rows], places[digit], places[digit + 1], t)
                    digit += 2
                elif plain and rules[rows, 0] != DIVIDE and words == WORDS and stop - digit >= 2 and alike(rules, n_en, n, digit, 2):
                    if simple:
                        convert_pair(x[n, digit], x[n, digit + 1], w[0], rules[rows], places[digit], places[digit + 1], t)
                    else:
                        divide_pair(x[n, digit], x[n, digit + 1], w[0], rules[rows], places[digit], places[digit + 1], t)
                    digit += 2
                else:
                    sums(x[n], w, spans[digit], spans[digit + 1], signs, p)
                    convert(p, rules[rows], scales[rows], places[digit], t)
                    digit += 1
            if held:
                flush(t, cell_places, factors[group] * gain, u, total[n])


@compiled
def uniform_product(x, w, rule, groups, places, factors, cell_places, t, u, total):
    """`product` where all sums are converted by one rule, of eight words [words, lanes] and groups of even numbers of digits.

    What does not change from one vector to the next is then worked out once: what narrow matrices spend most of their time on.
    """
    for n in range(x.shape[0]):
        for group in range(groups.shape[0] - 1):
            for digit in range(groups[group], groups[group + 1], 2):
                convert_pair(x[n, digit], x[n, digit + 1], w, rule, places[digit], places[digit + 1], t)
            flush(t, cell_places, factors[group] * rule[4], u, total[n])
