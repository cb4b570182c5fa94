"""How many rows rest: zeros among the inputs of products, as masks of each granularity see them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netwright.backends.cim.arch.model import Granularity
from netwright.backends.cim.coding.masks import BY_VALUE
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.coding.slicing import digits_of

MASKS: tuple[Granularity, ...] = ("row_group", "row", "plane_group", "plane")
"""Granularities that follow the input: one mask for all digits, then one for each; groups first."""


@dataclass(frozen=True, slots=True)
class Zeros:
    """What masks of one granularity find.

    Attributes:
        granularity: of the masks.
        group: rows that are switched together; 1 where each is on its own.
        sparsity: mean share of weight-holding rows that a mask may disable.
        exceeding: share of masks that find more than the threshold.
        enabled: mean N_en over the weight-holding rows of a block, with masks where they exceed the threshold.
    """

    granularity: Granularity
    group: int
    sparsity: float
    exceeding: float
    enabled: float

    @property
    def name(self) -> str:
        """Such as `plane`, or `row_group of 8`."""
        return self.granularity if self.group == 1 else f"{self.granularity} of {self.group}"


def zeros(x: np.ndarray, coding: Coding, granularity: Granularity, group: int, threshold: float) -> Zeros:
    """What masks of a granularity find in inputs [N, K], all blocks and digits of all vectors counted alike.

    Args:
        x: integers.
        coding: how they are cut into blocks and digits.
        granularity: one of `MASKS`.
        group: rows of a group, where there are groups.
        threshold: a mask is used where its share of zeros exceeds this.
    """
    size = group if granularity.endswith("group") else 1
    shares: list[np.ndarray] = []
    enabled: list[np.ndarray] = []
    for first in range(0, x.shape[1], coding.rows):
        digits = digits_of(x[:, first : first + coding.rows], coding)
        live = (digits != 0).any(axis=0, keepdims=True) if granularity in BY_VALUE else digits != 0
        holding = live.shape[-1]
        starts = np.array(range(0, holding, size), np.int64)
        sizes: np.ndarray = np.diff(np.append(starts, holding))
        on = (np.logical_or.reduceat(live, starts, axis=-1) * sizes).sum(axis=-1)
        share = 1.0 - on / holding
        shares.append(share.reshape(-1))
        enabled.append((holding + (share > threshold) * (on - holding)).reshape(-1) / holding)
    found, kept = np.concatenate(shares), np.concatenate(enabled)
    return Zeros(granularity, size, float(found.mean()), float((found > threshold).mean()), float(kept.mean()))
