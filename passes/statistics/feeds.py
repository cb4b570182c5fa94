"""Going through data, and choosing which rows of an activation to look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Feeds


def feeds_of(program: Program, batches: Iterable[Feeds]) -> Iterator[dict[str, np.ndarray]]:
    """The batches without what is no input of the program (labels)."""
    names = frozenset(value.name for value in program.inputs)
    return ({name: array for name, array in batch.items() if name in names} for batch in batches)


def places(count: int, most: int, seed: int | list[int]) -> np.ndarray:
    """At most `most` of the numbers from 0 to `count`, in order, drawn without replacement.

    Args:
        count: how many there are.
        most: how many are wanted.
        seed: of the draw; the same seed gives the same numbers.
    """
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
