"""Sizes as products of smaller ones."""

from __future__ import annotations

import math
from functools import lru_cache

USEFUL = 0.75
"""A factor above size^0.75 leaves too little for the others: a split with one is of no use."""


@lru_cache(maxsize=1024)
def splits(size: int, count: int, least: int = 2) -> tuple[tuple[int, ...], ...]:
    """All ways of writing a size as `count` factors of at least `least`, each ascending."""
    if count == 1:
        return ((size,),) if size >= least else ()
    found: list[tuple[int, ...]] = []
    for factor in range(least, math.isqrt(size) + 1):
        if size % factor == 0:
            found += [(factor, *rest) for rest in splits(size // factor, count - 1, factor)]
    return tuple(found)


def even_split(size: int, count: int) -> tuple[int, ...] | None:
    """The most even useful split, ascending; None where there is none, as of a prime."""
    useful = [split for split in splits(size, count) if split[-1] <= size**USEFUL]
    return min(useful, key=lambda split: split[-1] / split[0]) if useful else None
