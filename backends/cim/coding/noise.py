"""Noise that depends on where it falls and on nothing else: counters, a mixing function, and a table of a normal distribution.

A draw's place, (seed, stream, vector, block, digit, cell, column), is mixed into 64 bits; their top 14 choose among 16,384 equally probable
values of a standard normal, ±4.0 at the ends, variance 1. Values are whole 256ths of a count (of a cell, for cells), so that sums stay
integers and every engine draws the same.

Source: counter-based generation after Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011; the mixing function is the
finalizer of Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
"""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist

import numpy as np

from netwright.backends.cim.coding.model import Coding

NOISE_STEPS = 256
"""Noise is a whole number of 256ths."""

TABLE_BITS = 14
GOLDEN = 0x9E3779B97F4A7C15
FIRST = 0xBF58476D1CE4E5B9
SECOND = 0x94D049BB133111EB
_MASK = (1 << 64) - 1


def disturbs(coding: Coding) -> bool:
    """Whether sums are disturbed at all: deviations of 0 are no noise."""
    return coding.noise is not None and bool(coding.noise.conversion or coding.noise.cell)


def mix(state: int) -> int:
    """64 bits mixed into 64 others, one to one."""
    state = ((state ^ (state >> 30)) * FIRST) & _MASK
    state = ((state ^ (state >> 27)) * SECOND) & _MASK
    return state ^ (state >> 31)


def key_of(*place: int) -> int:
    """A place's key: its numbers mixed in one after the other."""
    key = 0
    for number in place:
        key = mix((key + GOLDEN * (number + 1)) & _MASK)
    return key


def mixed(states: np.ndarray) -> np.ndarray:
    """`mix` of each of a uint64 array."""
    states = (states ^ (states >> np.uint64(30))) * np.uint64(FIRST)
    states = (states ^ (states >> np.uint64(27))) * np.uint64(SECOND)
    return states ^ (states >> np.uint64(31))


def keys_with(keys: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """One more number mixed into each key: uint64, broadcast."""
    return mixed(keys + np.uint64(GOLDEN) * (numbers.astype(np.uint64) + np.uint64(1)))


@lru_cache(maxsize=32)
def table(deviation: float) -> np.ndarray:
    """int32 [16384]: equally probable values of a normal distribution of this standard deviation, in 256ths."""
    count = 1 << TABLE_BITS
    normal = NormalDist()
    values = np.array([normal.inv_cdf((index + 0.5) / count) for index in range(count // 2, count)])
    values = np.concatenate([-values[::-1], values])
    scaled = np.rint(values / values.std() * deviation * NOISE_STEPS).astype(np.int32)
    scaled.flags.writeable = False
    return scaled


def draws(keys: np.ndarray, deviation: float) -> np.ndarray:
    """The draws of keys, int32, in 256ths."""
    return table(deviation)[(keys >> np.uint64(64 - TABLE_BITS)).astype(np.int64)]
