"""Kernels for numba around the products: bit planes packed, masks formed, sums counted.

Imported only where numba is.
"""

# pyright: basic, reportCallIssue=false
from __future__ import annotations

import numpy as np

from netwright.backends.cim.engines.kernels import compiled, sums
from netwright.backends.cim.engines.lanes import plane_bits, popcount_and

CHUNK = 64


@compiled
def pack(x, start, stop, opposite, first_bit, bits, tail, planes):
    """Bits `start` … `stop` of rows of bytes [N, K] as words uint64 [N, planes, words], from the plane `first_bit` on.

    Args:
        x: bytes, C-contiguous.
        start: first row.
        stop: last row + 1.
        opposite: append the complements of the bits, of signs.
        first_bit: first plane.
        bits: planes, those of the bits from the lowest on.
        tail: 64 bytes to work with.
        planes: to write to; words beyond the rows become 0.
    """
    flat = x.reshape(x.size)
    last = flat.shape[0] - CHUNK
    count = (stop - start) * (2 if opposite else 1)
    for n in range(x.shape[0]):
        base = n * x.shape[1] + start
        for word in range(planes.shape[2]):
            left = count - CHUNK * word
            if left <= 0:
                planes[n, first_bit : first_bit + bits, word] = 0
                continue
            keep = ~np.uint64(0) if left >= CHUNK else (np.uint64(1) << np.uint64(left)) - np.uint64(1)
            place = base + CHUNK * word
            if place <= last and not opposite:
                for bit in range(bits):
                    planes[n, first_bit + bit, word] = plane_bits(flat, place, bit) & keep
                continue
            for row in range(min(left, CHUNK)):
                at = CHUNK * word + row
                tail[row] = flat[base + at] if at < stop - start else 1 - flat[base + at - (stop - start)]
            for bit in range(bits):
                planes[n, first_bit + bit, word] = plane_bits(tail, 0, bit) & keep


@compiled
def histogram(x, w, numbers, spans, cells, signs, lanes, offset, p, counts):
    """Count sums by a number of their rows, from 1 on, 0 for none: counts[c % 4, number − 1, p + offset] += 1.

    Neighbouring lanes count in different tables: an increment need not wait for the last one's. A bit line's planes are those of a cell
    from `cells` to the next.
    """
    for n in range(x.shape[0]):
        for digit in range(numbers.shape[0]):
            if numbers[digit, n] == 0:
                continue
            row = numbers[digit, n] - 1
            for line in range(cells.shape[0] - 1):
                first, last = cells[line], cells[line + 1]
                sums(x[n], w[first:last], spans[digit], spans[digit + 1], signs[first:last], p)
                for c in range(lanes):
                    counts[c & 3, row, np.int64(p[c]) + offset] += 1


@compiled
def moments(x, w, n_en, spans, signs, line, lanes, p, found):
    """found[N_en] += (Σ 1, Σ p, Σ p²) over bit lines of `line` planes each."""
    for n in range(x.shape[0]):
        for digit in range(n_en.shape[0]):
            rows = n_en[digit, n]
            if rows == 0:
                continue
            for first in range(0, w.shape[0], line):
                sums(x[n], w[first : first + line], spans[digit], spans[digit + 1], signs[first : first + line], p)
                total, squares = np.int64(0), np.int64(0)
                for c in range(lanes):
                    value = np.int64(p[c])
                    total += value
                    squares += value * value
                found[rows, 0] += lanes
                found[rows, 1] += total
                found[rows, 2] += squares


@compiled
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


@compiled
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


@compiled
def driven_bits(x, totals):
    """totals[k] += popcount of the bytes of row k."""
    for n in range(x.shape[0]):
        for row in range(x.shape[1]):
            totals[row] += popcount_and(x[n, row], x[n, row])


@compiled
def driven_digits(x, digit_sums, digit_counts, totals):
    """totals[k] += digits of row k, by table; returns how many are not 0."""
    nonzero = np.int64(0)
    for n in range(x.shape[0]):
        for row in range(x.shape[1]):
            totals[row] += digit_sums[x[n, row]]
            nonzero += digit_counts[x[n, row]]
    return nonzero


@compiled
def finish(total, gain, shifts, x, share, values):
    """values[n, j] = total[n, j] · gain + shifts[n] − share · Σ_k x[n, k]; shifts may be empty, for zeros."""
    for n in range(total.shape[0]):
        constant = np.int64(0)
        if share:
            row = np.int32(0) if x.itemsize == 1 else np.int64(0)
            for k in range(x.shape[1]):
                row += x[n, k]
            constant = -share * np.int64(row)
        if shifts.shape[0]:
            constant += shifts[n]
        for j in range(total.shape[1]):
            values[n, j] = np.int64(total[n, j]) * gain + constant


@compiled
def centre(x, middle, centred):
    """The floats x − middle."""
    for n in range(x.shape[0]):
        for k in range(x.shape[1]):
            centred[n, k] = centred.dtype.type(x[n, k]) - middle


@compiled
def settle(products, start, values):
    """values[n, j] = products[n, j] + start[j] of floats that are whole."""
    for n in range(products.shape[0]):
        for j in range(products.shape[1]):
            values[n, j] = np.int64(products[n, j]) + start[j]
