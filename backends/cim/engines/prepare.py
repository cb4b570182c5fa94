"""Weights made ready for products: the choice of the engine, and what engines have in common."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from netwright.backends.cim.coding import adc, checks, slicing
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.engines import inputs
from netwright.backends.cim.engines.base import MvmCounts, Outcome, Prepared
from netwright.backends.cim.engines.collapse import Collapsed
from netwright.backends.cim.engines.conversions import Conversions, rhe
from netwright.backends.cim.engines.planes import Measured, Planes

Engine: TypeAlias = Literal["auto", "numba", "numpy"]
Counting: TypeAlias = Literal["exact", "fast"]

SAMPLES = 16
"""Vectors that `fast` counts measure charge, saturation and exactness on."""


def prepare(
    w: np.ndarray,
    coding: Coding,
    *,
    first_block: int = 0,
    first_column: int = 0,
    threads: int = 1,
    engine: Engine = "auto",
    counts: Counting = "fast",
) -> Prepared:
    """Weights [K, J] made ready for products on crossbars.

    Args:
        w: integers that fit the coding's weights.
        coding: how products are computed.
        first_block: number of the first block of rows within its matrix; noise depends on it.
        first_column: number of the first output within its matrix; noise depends on it.
        threads: threads of a product; values do not depend on them.
        engine: `numba`, `numpy`, or what there is.
        counts: `exact`, or `fast`: charge, saturated and inexact conversions are measured on some vectors and scaled.

    Raises:
        UnsupportedModelError: the coding is none.
        RunError: a weight does not fit its bits.
        MissingExtraError: numba was asked for, and is not installed.
    """
    checks.check(coding)
    checks.check_weights(w, coding)
    return _Product(w, coding, first_block, first_column, counts)


class _Product:
    def __init__(self, w: np.ndarray, coding: Coding, first_block: int, first_column: int, counting: Counting) -> None:
        self._coding, self._shape, self._counting = coding, (w.shape[0], w.shape[1]), counting
        self._dtype = checks.result_type(w.shape[0], coding)
        self._starts = range(0, w.shape[0], coding.rows)
        self._conversions = Conversions(coding)
        self._w = w
        self._first_block, self._first_column = first_block, first_column
        self._weight_sums = np.abs(slicing.cells_of(w, coding)).sum(axis=(0, 2), dtype=np.int64)
        self._collapsed = Collapsed(w, *checks.input_bounds(coding)) if _all_lossless(coding, w.shape[0]) else None

    @property
    def coding(self) -> Coding:
        return self._coding

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    def multiply(self, x: np.ndarray, *, numbers: np.ndarray | None = None) -> Outcome:
        coding = self._coding
        checks.check_inputs(x, self._shape[0], coding)
        if numbers is None:
            numbers = np.arange(x.shape[0])
        counts = MvmCounts(vectors=x.shape[0], macs=x.shape[0] * self._w.size)
        measured = Measured()
        sample = self._sample(x.shape[0])
        total = np.zeros((x.shape[0], self._shape[1]), np.int64)
        for block, start in enumerate(self._starts):
            piece = x[:, start : start + coding.rows]
            applied = inputs.apply(piece, coding)
            inputs.tally(counts, applied, self._weight_sums[start : start + coding.rows], self._shape[1], coding)
            planes = Planes(self._w[start : start + coding.rows], coding, self._conversions, self._first_block + block, self._first_column)
            if self._collapsed is None:
                planes.add(total, applied, numbers, measured)
            else:
                chosen = inputs.Applied(applied.digits[:, sample], applied.n_en[:, sample], applied.used[:, sample])
                planes.add(np.zeros((len(sample), self._shape[1]), np.int64), chosen, numbers[sample], measured)
        sampled = len(sample) / max(x.shape[0], 1) if self._collapsed is not None else 1.0
        counts.charge = measured.charge / sampled if sampled else 0.0
        counts.saturated, counts.inexact = round(measured.saturated / (sampled or 1)), round(measured.inexact / (sampled or 1))
        if self._collapsed is not None:
            return Outcome(self._collapsed.multiply(x, self._dtype), counts, "collapsed", sampled if x.shape[0] else 1.0)
        values = rhe(total * (2 if coding.encoding == "xnor" else 1), np.int64(adc.denominator(coding)))
        if coding.encoding == "offset":
            values -= (1 << (coding.weight_bits - 1)) * x.sum(axis=1, dtype=np.int64)[:, None]
        elif coding.encoding == "xnor":
            values -= self._shape[0]
        return Outcome(values.astype(self._dtype), counts, "planes")

    def _sample(self, vectors: int) -> np.ndarray:
        """Vectors to measure on."""
        if self._counting == "exact" or vectors <= SAMPLES:
            return np.arange(vectors)
        return np.linspace(0, vectors - 1, SAMPLES).astype(np.int64)


def _all_lossless(coding: Coding, rows: int) -> bool:
    """Whether every block is lossless, whatever its inputs."""
    last = rows % coding.rows
    return checks.lossless(coding, min(rows, coding.rows)) and (not last or checks.lossless(coding, last))
