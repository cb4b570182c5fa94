"""One matrix on crossbars: values and counts by whichever engine it was prepared for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, repeat
from typing import Literal, TypeAlias

import numpy as np

from netwright.backends.cim.coding import adc, checks, masks, slicing
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.engines import inputs
from netwright.backends.cim.engines.base import MvmCounts, Outcome
from netwright.backends.cim.engines.collapse import Collapsed
from netwright.backends.cim.engines.conversions import Conversions, divide
from netwright.backends.cim.engines.measured import Measured
from netwright.backends.cim.engines.planes import Planes
from netwright.backends.cim.engines.popcount import Popcount

Counting: TypeAlias = Literal["exact", "fast"]

SAMPLES = 8
"""Vectors that `fast` counts measure charge, saturation and exactness on."""

LEAST_VECTORS = 64
"""Vectors worth a thread of their own."""


class Product:
    """See `engines.base.Prepared`."""

    def __init__(
        self,
        w: np.ndarray,
        coding: Coding,
        first_block: int,
        first_column: int,
        threads: int,
        counting: Counting,
        conversions: Conversions,
        popcount: Popcount | None,
    ) -> None:
        self._w, self._coding, self._counting, self._threads = w, coding, counting, threads
        self._first_block, self._first_column = first_block, first_column
        self._dtype = checks.result_type(w.shape[0], coding)
        self._blocks = [(start, min(start + coding.rows, w.shape[0])) for start in range(0, w.shape[0], coding.rows)]
        self._conversions, self._popcount = conversions, popcount
        lossless = all(checks.lossless(coding, stop - start) for start, stop in self._blocks)
        self._collapsed = Collapsed(w, *checks.input_bounds(coding)) if lossless else None
        self._weight_sums = np.concatenate([_row_sums(w[start:stop], coding) for start, stop in self._blocks])
        self._words = [] if popcount is None else [popcount.weights(w[start:stop]) for start, stop in self._blocks]

    @property
    def coding(self) -> Coding:
        """How products are computed."""
        return self._coding

    @property
    def shape(self) -> tuple[int, int]:
        """(K, J)."""
        return self._w.shape[0], self._w.shape[1]

    @property
    def denominator(self) -> int:
        """What fractions are over."""
        return adc.denominator(self._coding)

    def multiply(self, x: np.ndarray, *, numbers: np.ndarray | None = None, fractions: bool = False) -> Outcome:
        """See `engines.base.Prepared.multiply`."""
        checks.check_inputs(x, self._w.shape[0], self._coding)
        places = np.arange(x.shape[0], dtype=np.int64) if numbers is None else numbers
        pieces = min(self._threads, max(1, x.shape[0] // LEAST_VECTORS))
        if pieces < 2:
            return self._multiply(x, places, fractions)
        cuts = [x.shape[0] * piece // pieces for piece in range(pieces + 1)]
        ranges = [slice(start, stop) for start, stop in pairwise(cuts)]
        with ThreadPoolExecutor(pieces) as pool:
            outcomes = list(pool.map(self._multiply, (x[rows] for rows in ranges), (places[rows] for rows in ranges), repeat(fractions)))
        counts = MvmCounts()
        for outcome in outcomes:
            counts.add(outcome.counts)
        sampled = sum(outcome.sampled * outcome.values.shape[0] for outcome in outcomes) / x.shape[0]
        return Outcome(np.concatenate([outcome.values for outcome in outcomes]), counts, outcomes[0].engine, sampled)

    def _multiply(self, x: np.ndarray, numbers: np.ndarray, fractions: bool) -> Outcome:
        counts = MvmCounts(vectors=x.shape[0], macs=x.shape[0] * self._w.size)
        measured = Measured()
        if self._popcount is not None:
            numerators = self._counted(self._popcount, self._words, x, counts, measured)
        else:
            numerators = self._summed(x, numbers, counts, measured)
        sampled = len(self._sample(x.shape[0])) / x.shape[0] if x.shape[0] else 1.0
        _scale(counts, measured, sampled)
        if self._collapsed is not None:
            values = self._collapsed.multiply(x, self._dtype)
            values = values.astype(np.int64) * self.denominator if fractions else values
            return Outcome(values, counts, "collapsed", sampled)
        values = self._corrected(numerators, x)
        values = values if fractions else divide(values, self.denominator, self._dtype)
        return Outcome(values, counts, "planes" if self._popcount is None else "popcount", sampled)

    def _counted(self, popcount: Popcount, words: list[np.ndarray], x: np.ndarray, counts: MvmCounts, measured: Measured) -> np.ndarray:
        """Numerators by popcounts, unless results collapse; counts and what conversions did on a sample."""
        coding, outputs, lossy = self._coding, self._w.shape[1], self._collapsed is None
        sample = self._sample(x.shape[0])
        total = np.zeros((x.shape[0], outputs) if lossy else (0, 0), popcount.rules.total)
        shifts = np.zeros((x.shape[0], 1), np.int64)
        for (start, stop), packed in zip(self._blocks, words, strict=True):
            piece = x[:, start:stop]
            if lossy or masks.masked(coding):
                applied = popcount.inputs(piece)
                n_en, chosen = applied.n_en, applied.taken(sample)
                if lossy:
                    popcount.add(total, applied, packed)
                    shifts += popcount.shifts(applied)
            else:
                chosen = popcount.inputs(piece[sample])
                n_en = np.broadcast_to(chosen.n_en[:, :1], (chosen.n_en.shape[0], x.shape[0]))
            inputs.tally_block(counts, n_en, stop - start, outputs, coding)
            popcount.measure(measured, chosen, packed)
        inputs.tally_rows(counts, popcount.driven(x), self._weight_sums, outputs, coding)
        return total.astype(np.int64) * popcount.rules.gain + shifts if lossy else total

    def _summed(self, x: np.ndarray, numbers: np.ndarray, counts: MvmCounts, measured: Measured) -> np.ndarray:
        """The same by float products of digit planes."""
        coding, outputs, lossy = self._coding, self._w.shape[1], self._collapsed is None
        sample = self._sample(x.shape[0])
        total = np.zeros((x.shape[0], outputs), np.int64)
        for block, (start, stop) in enumerate(self._blocks):
            applied = inputs.apply(x[:, start:stop], coding)
            inputs.tally_block(counts, applied.n_en, stop - start, outputs, coding)
            planes = Planes(self._w[start:stop], coding, self._conversions, self._first_block + block, self._first_column)
            if len(sample) == x.shape[0]:
                planes.add(total, applied, numbers, measured)
                continue
            if lossy:
                planes.add(total, applied, numbers, None)
            planes.add(np.zeros((len(sample), outputs), np.int64), applied.taken(sample), numbers[sample], measured)
        inputs.tally_rows(counts, inputs.driven(x, coding), self._weight_sums, outputs, coding)
        return total

    def _corrected(self, numerators: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Numerators int64 [N, J] of results: the offset's share or the enabled rows taken off, of signs doubled before."""
        coding = self._coding
        if coding.encoding == "offset":
            return numerators - (self.denominator << (coding.weight_bits - 1)) * x.sum(axis=1, dtype=np.int64)[:, None]
        return 2 * numerators - self._w.shape[0] * self.denominator if coding.encoding == "xnor" else numerators

    def _sample(self, vectors: int) -> np.ndarray:
        """Vectors to measure on: all, or the middles of as many pieces as there are samples."""
        if self._counting == "exact" or vectors <= SAMPLES:
            return np.arange(vectors)
        return (2 * np.arange(SAMPLES, dtype=np.int64) + 1) * vectors // (2 * SAMPLES)


def _row_sums(w: np.ndarray, coding: Coding) -> np.ndarray:
    """Each row's cells summed over all bit lines, int64."""
    return np.abs(slicing.cells_of(w, coding)).sum(axis=(0, 2), dtype=np.int64)


def _scale(counts: MvmCounts, measured: Measured, sampled: float) -> None:
    """What was measured on some of the vectors, for all of them: charge goes with Σ p, and the rest with conversions; both are known."""
    if sampled == 1.0:
        counts.charge, counts.saturated, counts.inexact = measured.charge, measured.saturated, measured.inexact
        return
    share = counts.conversions / max(measured.conversions, 1)
    counts.charge = measured.charge * (counts.counts / max(measured.counts, 1))
    counts.saturated, counts.inexact = round(measured.saturated * share), round(measured.inexact * share)
