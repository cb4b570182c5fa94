"""The same loops with numpy alone: vectors of bits, and of places where codes may begin."""

from __future__ import annotations

import numpy as np

from netwright.codec.golomb import lengths

_WINDOW = 1 << 16
"""Bits that are looked at together while reading: memory stays bounded."""
_LONGEST = 48
"""Bits of the longest code's number."""


def write_codes(numbers: np.ndarray, orders: np.ndarray, out: np.ndarray) -> int:
    """See `loops.write_codes`."""
    if not len(numbers):
        return 0
    each = np.resize(orders, len(numbers))
    values = numbers + (np.int64(1) << each)
    sizes = np.empty(len(numbers), np.int64)
    for order in np.unique(each).tolist():
        sizes[each == order] = lengths(numbers[each == order], order)
    ends = np.cumsum(sizes)
    bits = np.zeros(len(out) * 8, np.uint8)
    for shift in range(int(values.max()).bit_length()):
        present = (values >> shift) & 1 == 1
        bits[ends[present] - 1 - shift] = 1
    out[:] = np.packbits(bits)
    return int(ends[-1])


def read_codes(data: np.ndarray, orders: np.ndarray, out: np.ndarray) -> int:
    """See `loops.read_codes`. In each window of bits, where the next code begins is found for every bit; then jumps are doubled."""
    place, done = 0, 0
    total = len(data) * 8
    while done < len(out):
        first = place >> 3
        margin = (2 * _LONGEST + 2) * len(orders)
        bits = np.unpackbits(data[first : first + (_WINDOW + margin) // 8 + 1])
        turn = done % len(orders)
        starts, turns, read = _codes(bits, place & 7, orders, turn, len(out) - done)
        if not len(starts):
            return -1
        out[done : done + len(starts)] = read
        done += len(starts)
        place = first * 8 + turns
        if place > total:
            return -1
    return place


def _codes(bits: np.ndarray, begin: int, orders: np.ndarray, turn: int, most: int) -> tuple[np.ndarray, int, np.ndarray]:
    """Places, end and numbers of the codes that begin in a window."""
    size = len(bits)
    ones = np.append(np.flatnonzero(bits), size)
    leading = ones[np.searchsorted(ones, np.arange(size + 1))]
    here = np.arange(size + 1)
    jumps = [np.minimum(np.where(leading < size, leading + (leading - here) + int(order) + 1, size + 1), size + 1) for order in orders]
    jumps = [np.append(jump, size + 1) for jump in jumps]
    cycle = [jumps[(turn + step) % len(orders)] for step in range(len(orders))]
    whole = cycle[0]
    for jump in cycle[1:]:
        whole = jump[whole]
    starts = np.array([begin])
    leap = whole
    while len(starts) * len(orders) < most and starts[-1] <= size:
        starts = np.concatenate([starts, leap[starts]])
        leap = leap[leap]
        if starts[-1] > size:
            break
    rounds = [starts]
    for jump in cycle[:-1]:
        rounds.append(jump[rounds[-1]])
    every = np.stack(rounds, 1).reshape(-1)
    after = np.stack([cycle[step][rounds[step]] for step in range(len(orders))], 1).reshape(-1)
    good = np.cumprod(after <= size).astype(bool)
    count = min(int(good.sum()), most)
    every, after = every[:count], after[:count]
    if not count:
        return every, begin, every
    used = np.resize(np.roll(orders, -turn), count)
    first = leading[every]
    width = after - first
    numbers = np.zeros(count, np.int64)
    for step in range(int(width.max())):
        inside = step < width
        numbers = np.where(inside, (numbers << 1) | bits[np.minimum(first + step, size - 1)], numbers)
    return every, int(after[-1]), numbers - (np.int64(1) << used)
