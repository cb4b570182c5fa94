"""Inner sizes: rounding them, refusing wrong ones, and arrays that have a shape and nothing else."""

from __future__ import annotations

import numpy as np

from netwright.ir.errors import PlanError


def rounded(rank: int, round_to: int) -> int:
    """The multiple of `round_to` at or below a rank; the rank itself where it is smaller than one."""
    return rank - rank % round_to if rank >= round_to else rank


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
