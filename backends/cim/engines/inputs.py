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
    """

    digits: np.ndarray
    n_en: np.ndarray

    def taken(self, vectors: np.ndarray) -> Applied:
        """Some of the vectors."""
        return Applied(self.digits[:, vectors], self.n_en[:, vectors])


@dataclass(frozen=True, slots=True)
class Driven:
    """What all inputs drive.

    Attributes:
        sums: int64 [K], each row's digits summed over vectors; of signs, how many are 1.
        nonzero: digits that are not 0.
    """

    sums: np.ndarray
    nonzero: int


def apply(x: np.ndarray, coding: Coding) -> Applied:
    """The inputs [N, holding] of one block as digits, and how many rows their masks enable."""
    digits = slicing.digits_of(x, coding)
    holding = x.shape[1]
    unmasked = masks.unmasked_rows(coding, holding)
    if not masks.masked(coding):
        return Applied(digits, np.full(digits.shape[:2], unmasked, np.int64))
    nonzero = digits != 0
    if coding.masking.granularity in masks.BY_VALUE:
        nonzero = np.broadcast_to(nonzero.any(axis=0), nonzero.shape)
    group = masks.groups_of(coding.masking)
    starts = np.arange(0, holding, group, dtype=np.int64)
    sizes = np.diff(np.append(starts, holding))
    kept = (np.logical_or.reduceat(nonzero, starts, axis=2) * sizes).sum(axis=2) if group > 1 else np.count_nonzero(nonzero, axis=2)
    return Applied(digits, np.where(kept <= masks.most_kept(coding.masking, holding), kept, unmasked))


def driven(x: np.ndarray, coding: Coding) -> Driven:
    """What inputs [N, K] drive."""
    digits = slicing.digits_of(x, coding)
    return Driven(digits.sum(axis=(0, 1), dtype=np.int64), int(np.count_nonzero(digits)))


def tally_block(counts: MvmCounts, n_en: np.ndarray, holding: int, outputs: int, coding: Coding) -> None:
    """Add the cycles, conversions and masks of one block of `holding` rows, of n_en [digits, N]."""
    each = len(slicing.weight_places(coding)) * outputs
    if not masks.masked(coding):
        rows = masks.unmasked_rows(coding, holding)
        counts.cycles += n_en.size
        counts.row_cycles += n_en.size * holding
        counts.conversions += n_en.size * each
        counts.enabled += n_en.size * each * rows
        counts.conversion_bits += n_en.size * each * adc.resolved_bits(coding, rows, holding)
        return
    histogram = np.bincount(n_en.ravel(), minlength=1)
    idle = int(histogram[0])
    cycles = n_en.size - idle
    counts.cycles += cycles
    counts.row_cycles += cycles * holding
    counts.conversions += cycles * each
    counts.skipped += idle * each
    counts.enabled += int(histogram @ np.arange(histogram.size)) * each
    bits = coding.converter.bits * cycles
    if coding.masking.fewer_bits:
        bits = sum(int(histogram[rows]) * adc.resolved_bits(coding, int(rows), holding) for rows in np.flatnonzero(histogram) if rows)
    counts.conversion_bits += each * bits
    by_value = coding.masking.granularity in masks.BY_VALUE
    formed = n_en.shape[1] if by_value else n_en.size
    counts.masks += formed
    counts.mask_rows += formed * holding
    if coding.converter.mode == "charge" and not coding.masking.fewer_bits:
        compensated = n_en[:1] if by_value else n_en
        counts.compensations += int(np.count_nonzero((compensated > 0) & (compensated < holding))) * outputs


def tally_rows(counts: MvmCounts, drives: Driven, weight_sums: np.ndarray, outputs: int, coding: Coding) -> None:
    """Add the rows driven and Σ p, exactly: Σ_k (Σ digits of row k) · (Σ cells of row k).

    Args:
        counts: to add to, its cycles counted.
        drives: all inputs.
        weight_sums: int64 [K], each row's cells summed over all bit lines.
        outputs: J.
        coding: how.
    """
    if coding.encoding == "xnor":
        counts.rows_on += counts.row_cycles
        counts.counts += int((drives.sums * weight_sums + (counts.vectors - drives.sums) * (outputs - weight_sums)).sum())
    else:
        counts.rows_on += drives.nonzero
        counts.counts += int((drives.sums * weight_sums).sum())
