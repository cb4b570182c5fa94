"""Inner sizes: rounding them, refusing wrong ones, and arrays that have a shape and nothing else."""

from __future__ import annotations

import numpy as np

from netwright.ir.errors import PlanError


def rounded(rank: int, round_to: int) -> int:
    """A rank rounded down to a multiple of `round_to`; to one of its half, or half of that, where that takes over a quarter off it."""
    grain = round_to
    while grain > 1 and rank < 4 * grain:
        grain //= 2
    return rank - rank % grain


def blank(*shape: int) -> np.ndarray:
    """An array of a shape that takes no memory; its elements mean nothing."""
    return np.broadcast_to(np.float64(0), shape)


def require_ranks(structure: str, ranks: tuple[int, ...], limits: tuple[int, ...]) -> None:
    """Refuse ranks that an operator does not have.

    Args:
        structure: for the error.
        ranks: that are asked for.
        limits: the largest of each.

    Raises:
        PlanError: another number of them, or one below 1 or above its limit.
    """
    if len(ranks) != len(limits):
        raise PlanError(f"{structure} takes {len(limits)} ranks, not {len(ranks)}.", place=f"ranks={list(ranks)}", remedy="Give as many.")
    for rank, limit in zip(ranks, limits, strict=True):
        if not 1 <= rank <= limit:
            raise PlanError(
                f"{structure}: rank {rank} is not between 1 and {limit}.",
                place=f"ranks={list(ranks)}",
                remedy=f"Give at most {list(limits)}.",
            )
