"""What inputs make the arrays do, whatever the weights: digits applied, masks formed, rows enabled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netwright.backends.cim.coding import adc, masks, slicing
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.engines.base import MvmCounts


@dataclass(frozen=True, slots=True)
class Applied:
    """The inputs of one block.

    Attributes:
        digits: uint8 [digits, N, holding].
        n_en: int64 [digits, N], enabled rows.
        used: bool [digits, N], whether a mask is used.
    """

    digits: np.ndarray
    n_en: np.ndarray
    used: np.ndarray


def apply(x: np.ndarray, coding: Coding) -> Applied:
    """The inputs [N, holding] of one block as digits, and which rows their masks enable."""
    digits = slicing.digits_of(x, coding)
    holding = x.shape[1]
    unmasked = masks.unmasked_rows(coding, holding)
    if not masks.masked(coding):
        shape = digits.shape[:2]
        return Applied(digits, np.full(shape, unmasked, np.int64), np.zeros(shape, np.bool_))
    nonzero = digits != 0
    if coding.masking.granularity in masks.BY_VALUE:
        nonzero = np.broadcast_to(nonzero.any(axis=0), nonzero.shape)
    group = masks.groups_of(coding.masking)
    starts = np.arange(0, holding, group)
    sizes = np.diff(np.append(starts, holding))
    kept = (np.logical_or.reduceat(nonzero, starts, axis=2) * sizes).sum(axis=2) if group > 1 else np.count_nonzero(nonzero, axis=2)
    used = kept <= masks.most_kept(coding.masking, holding)
    return Applied(digits, np.where(used, kept, unmasked), used)


def tally(counts: MvmCounts, applied: Applied, weight_sums: np.ndarray, outputs: int, coding: Coding) -> None:
    """Add what one block did, all but `charge`, `saturated` and `inexact`.

    Args:
        counts: to add to.
        applied: the block's inputs.
        weight_sums: int64 [holding], each row's cells summed over all bit lines.
        outputs: J.
        coding: how.
    """
    vectors, holding = applied.digits.shape[1:]
    active = applied.n_en > 0
    cycles = int(active.sum())
    each = len(slicing.weight_places(coding)) * outputs
    counts.cycles += cycles
    counts.row_cycles += cycles * holding
    counts.conversions += cycles * each
    counts.skipped += (active.size - cycles) * each
    counts.enabled += int(applied.n_en.sum()) * each
    histogram = np.bincount(applied.n_en.ravel(), minlength=coding.rows + 1)
    counts.conversion_bits += each * sum(int(histogram[n]) * adc.resolved_bits(coding, int(n)) for n in np.flatnonzero(histogram) if n)
    driven = applied.digits.sum(axis=(0, 1), dtype=np.int64)
    if coding.encoding == "xnor":
        counts.rows_on += cycles * holding
        counts.counts += int((driven * weight_sums + (vectors - driven) * (outputs - weight_sums)).sum())
    else:
        counts.rows_on += int(np.count_nonzero(applied.digits))
        counts.counts += int((driven * weight_sums).sum())
    if not masks.masked(coding):
        return
    by_value = coding.masking.granularity in masks.BY_VALUE
    formed = vectors if by_value else applied.n_en.size
    counts.masks += formed
    counts.mask_rows += formed * holding
    if coding.converter.mode == "charge" and not coding.masking.fewer_bits:
        compensated = (applied.used & active)[:1] if by_value else applied.used & active
        counts.compensations += int(compensated.sum()) * outputs
