"""Which elements of a weight go: the lowest of all, or of each few in a row."""

from __future__ import annotations

import numpy as np


def lowest_share(scores: np.ndarray, share: float) -> np.ndarray:
    """True where an element goes: `round(share · elements)` of the lowest scores; of equal ones, the first."""
    count = round(share * scores.size)
    gone = np.zeros(scores.size, dtype=bool)
    gone[np.argsort(scores, axis=None, kind="stable")[:count]] = True
    return gone.reshape(scores.shape)


def lowest_in_rows(scores: np.ndarray, kept: int, among: int, axis: int) -> np.ndarray:
    """True where an element goes: of each `among` in a row along an axis, all but the `kept` highest scores.

    Args:
        scores: its size along the axis is a multiple of `among`.
        kept: how many stay of each.
        among: how many there are in each.
        axis: along which they lie.
    """
    moved = np.moveaxis(scores, axis, -1)
    blocks = moved.reshape(*moved.shape[:-1], -1, among)
    order = np.argsort(blocks, axis=-1, kind="stable")
    gone = np.zeros(blocks.shape, dtype=bool)
    np.put_along_axis(gone, order[..., : among - kept], True, axis=-1)
    return np.moveaxis(gone.reshape(moved.shape), -1, axis)
