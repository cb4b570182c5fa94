"""What an engine takes and gives: prepared weights, products, and counts of what the hardware did."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np

from netwright.backends.cim.coding.model import Coding


@dataclass(slots=True)
class MvmCounts:
    """What the arrays did for some vectors; sums over vectors, blocks, digits, cells and columns. Copies add up.

    Attributes:
        vectors: input vectors.
        cycles: digits applied to blocks (one cycle of one block's arrays, for all columns), all-zero planes left out where masks see them.
        conversions: sums converted.
        skipped: sums not converted, because no row was enabled.
        conversion_bits: bits resolved, over all conversions: fewer than conversions × bits with `fewer_bits`.
        saturated: conversions clamped at an end.
        inexact: conversions whose p̂ is not p.
        rows_on: input digits that were not 0 and drove a row (each block's rows once, not once a column).
        row_cycles: rows that could have been driven (weight-holding rows × cycles).
        enabled: Σ N_en over conversions.
        counts: Σ p over conversions; of columns subtracted before conversion, p⁺ + p⁻. Without noise, like `charge` and `inexact`.
        charge: Σ p·(1 − p/F) over conversions' columns, F as in `coding.model`: what charge-domain cells draw, in cells' C·V².
        masks: masks formed, used or not.
        mask_rows: Σ over masks of the rows that they were formed of.
        compensations: outputs multiplied by N_en, one for each (mask that is used, output), mode `charge` without `fewer_bits`.
        macs: multiplications that the product stands for (vectors × K × J).
    """

    vectors: int = 0
    cycles: int = 0
    conversions: int = 0
    skipped: int = 0
    conversion_bits: int = 0
    saturated: int = 0
    inexact: int = 0
    rows_on: int = 0
    row_cycles: int = 0
    enabled: int = 0
    counts: int = 0
    charge: float = 0.0
    masks: int = 0
    mask_rows: int = 0
    compensations: int = 0
    macs: int = 0

    def add(self, other: MvmCounts) -> None:
        """Add another's figures to these."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


@dataclass(frozen=True, slots=True)
class Outcome:
    """A product.

    Attributes:
        values: int32 [N, J], or int64 where the width check demands it; int64 of fractions.
        counts: what it took.
        engine: which way it was computed: `collapsed`, `popcount`, `planes`, …, with `estimated` counts told apart.
        sampled: share of the vectors on which `counts`, `charge`, `saturated` and `inexact` were measured, the rest being scaled; 1: all.
    """

    values: np.ndarray
    counts: MvmCounts
    engine: str
    sampled: float = 1.0


class Prepared(Protocol):
    """Weights made ready for products."""

    @property
    def coding(self) -> Coding:
        """How products are computed."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """(K, J)."""
        ...

    @property
    def why_slow(self) -> str:
        """Why products take longer than they could: no numba, no AVX-512, operands too wide; empty where they do not."""
        ...

    @property
    def denominator(self) -> int:
        """What `fractions` are over: 1 where sums are whole. It depends on the coding only: all pieces of a matrix have one."""
        ...

    def multiply(self, x: np.ndarray, *, numbers: np.ndarray | None = None, fractions: bool = False) -> Outcome:
        """The product of integers [N, K] with the weights.

        Args:
            x: uint8 or int8 (wider where input_bits demand it), C-contiguous or not.
            numbers: int64 [N], each vector's number within the whole run (0 … N−1 where left out): noise depends on it, so that pieces
                give what the whole gives.
            fractions: values are int64 numerators over `denominator`, not divided: those of a matrix's pieces along K add up to the
                whole's, which `divide` then rounds once.
        """
        ...
