"""The simulator's own inner loop, in plain Python: `compiled` makes machine code of it where numba is installed."""

# pyright: basic
from __future__ import annotations

import numpy as np


def requantize(acc, bias, multiplier, zero_point, low, high, made):
    """Sums int32 [N, J] → bytes [N, J] in one pass: the sum wraps in 32 bits, the rest is float32, rounded half to even."""
    for row in range(acc.shape[0]):
        for column in range(acc.shape[1]):
            total = np.int32(acc[row, column] + bias[column])
            scaled = np.rint(np.float32(total) * multiplier[column]) + zero_point
            made[row, column] = np.int32(min(max(scaled, low), high))
