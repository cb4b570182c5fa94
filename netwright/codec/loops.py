"""The loops of the codec, one number after the other: compiled where numba is installed, and what they do is plain in any case.

Each takes arrays only, and checks its bounds: damaged data gives -1, not a read outside.
"""

from __future__ import annotations

import numpy as np


def write_codes(numbers: np.ndarray, orders: np.ndarray, out: np.ndarray) -> int:
    """Write Exponential-Golomb codes, most significant bits first; number i has order `orders[i % len(orders)]`.

    Args:
        numbers: int64, from 0.
        orders: int64.
        out: uint8, zeros, long enough.

    Returns:
        How many bits were written.
    """
    place = 0
    for index in range(len(numbers)):
        order = orders[index % len(orders)]
        value = numbers[index] + (1 << order)
        bits = 0
        rest = value
        while rest:
            bits += 1
            rest >>= 1
        place += bits - 1 - order
        for shift in range(bits - 1, -1, -1):
            if (value >> shift) & 1:
                out[place >> 3] |= 128 >> (place & 7)
            place += 1
    return place


def read_codes(data: np.ndarray, orders: np.ndarray, out: np.ndarray) -> int:
    """Read as many codes as `out` has places.

    Args:
        data: uint8.
        orders: int64; see `write_codes`.
        out: int64.

    Returns:
        How many bits were read; -1 where the data ends too early or holds no code.
    """
    place = 0
    end = len(data) * 8
    for index in range(len(out)):
        order = orders[index % len(orders)]
        zeros = 0
        while place < end and not (data[place >> 3] >> (7 - (place & 7))) & 1:
            zeros += 1
            place += 1
        bits = zeros + order + 1
        if place + bits > end or bits > 48:
            return -1
        value = 0
        for _ in range(bits):
            value = (value << 1) | ((data[place >> 3] >> (7 - (place & 7))) & 1)
            place += 1
        out[index] = value - (1 << order)
    return place
