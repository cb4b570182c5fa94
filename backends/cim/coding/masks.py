"""Which rows of a block are enabled, and where a mask is used at all."""

from __future__ import annotations

import math

import numpy as np

from netwright.backends.cim.coding import adc
from netwright.backends.cim.coding.model import Coding, Masking
from netwright.ir.errors import RunError

BY_VALUE = ("row", "row_group")
"""One mask for all digits of a vector's block."""

BY_PLANE = ("plane", "plane_group")
"""A mask for each digit."""


def masked(coding: Coding) -> bool:
    """Whether masks are formed from the input: never of ±1, which has no zeros."""
    return coding.encoding != "xnor" and coding.masking.granularity in BY_VALUE + BY_PLANE


def unmasked_rows(coding: Coding, holding: int) -> int:
    """N_en of a block without a mask: all rows of the array, or those that hold weights (xnor: always these)."""
    return adc.kept_rows(coding, holding)


def groups_of(masking: Masking) -> int:
    """Rows that a mask switches together."""
    return masking.group if masking.granularity in ("row_group", "plane_group") else 1


def most_kept(masking: Masking, holding: int) -> int:
    """The largest N_en with which a mask is used: the share of disabled rows must exceed the threshold.

    disabled > threshold · holding, in whole rows.
    """
    return holding - (math.floor(masking.threshold * holding) + 1)


def enabled_rows(digits: np.ndarray, coding: Coding) -> np.ndarray:
    """What the mask of the granularity enables, were it used: bool, the shape of `digits` ([digits, holding], one vector's block)."""
    nonzero = digits != 0
    if coding.masking.granularity in BY_VALUE:
        nonzero = np.broadcast_to(nonzero.any(axis=0), nonzero.shape)
    group = groups_of(coding.masking)
    holding = digits.shape[1]
    starts = np.arange(0, holding, group, dtype=np.int64)
    return np.repeat(np.logical_or.reduceat(nonzero, starts, axis=1), group, axis=1)[:, :holding]


def check_mask(mask: np.ndarray, digits: np.ndarray) -> None:
    """Refuse a mask that disables a row whose digit is not 0.

    Raises:
        RunError: it does.
    """
    hidden = np.flatnonzero(~mask & (digits != 0))
    if hidden.size:
        raise RunError(
            f"The mask disables {hidden.size} rows whose input is not 0, the first at {int(hidden[0])}.",
            place="mask",
            remedy="Disable only rows whose input digit is 0: the sum must not change.",
        )
