"""One matrix on crossbars: values and counts by whichever engine it was prepared for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise, repeat
from typing import Literal, TypeAlias

import numpy as np

from netwright.backends.cim.coding import adc, checks, masks, slicing
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.engines import disturbances, inputs, packing
from netwright.backends.cim.engines.base import MvmCounts, Outcome
from netwright.backends.cim.engines.collapse import Collapsed
from netwright.backends.cim.engines.compiled import Kernels, note
from netwright.backends.cim.engines.conversions import conversions_of, divide, drawn_alike
from netwright.backends.cim.engines.measured import Measured
from netwright.backends.cim.engines.planes import Planes
from netwright.backends.cim.engines.popcount import Inputs, Popcount, Weights
from netwright.backends.cim.engines.rules import rules_of

Counting: TypeAlias = Literal["exact", "fast"]

SAMPLES = 8
"""Vectors that `fast` counts measure charge, saturation and exactness on."""

LEAST_VECTORS = 64
"""Vectors worth a thread of their own."""


WITHOUT_KERNELS = "conversions are computed by float products, some 20 times slower: numba is not installed (netwright[cim]), or not wanted"


@dataclass(frozen=True, slots=True)
class _Block:
    """Rows of the matrix that one partial sum is of, and what counts their bits; None where products of floats do."""

    start: int
    stop: int
    engine: Popcount | None
    weights: Weights | None

    @property
    def holding(self) -> int:
        """Rows."""
        return self.stop - self.start


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
        kernels: Kernels | None,
    ) -> None:
        self._w, self._coding, self._counting, self._threads, self._kernels = w, coding, counting, threads, kernels
        self._first_block, self._first_column = first_block, first_column
        self._dtype = checks.result_type(w.shape[0], coding)
        ranges = [(start, min(start + coding.rows, w.shape[0])) for start in range(0, w.shape[0], coding.rows)]
        lossless = all(checks.lossless(coding, stop - start) for start, stop in ranges)
        self._collapsed = Collapsed(w, *checks.input_bounds(coding)) if lossless else None
        self._weight_sums = np.concatenate([_row_sums(w[start:stop], coding) for start, stop in ranges])
        self._alike = drawn_alike(coding)
        self._conversions = {holding: conversions_of(self._alike, holding) for holding in {stop - start: None for start, stop in ranges}}
        found = self._engines(kernels)
        self._why_slow = found if isinstance(found, str) else ""
        engines = {} if isinstance(found, str) else found
        self._blocks = [
            _Block(start, stop, engine, None if engine is None else engine.weights(w[start:stop], first_block + index, first_column))
            for index, (start, stop) in enumerate(ranges)
            for engine in (engines.get(stop - start),)
        ]

    def _engines(self, kernels: Kernels | None) -> dict[int, Popcount] | str:
        """What counts bits, by the rows of a block; or why nothing does."""
        if kernels is None:
            return WITHOUT_KERNELS
        found: dict[int, Popcount] = {}
        for holding, conversions in self._conversions.items():
            rules = rules_of(self._alike, self._w.shape[0], holding, disturbances.largest(self._coding))
            if isinstance(rules, str):
                return f"conversions are computed by float products, some 20 times slower: {rules}"
            found[holding] = Popcount(self._coding, conversions, rules, kernels)
        return found

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

    @property
    def why_slow(self) -> str:
        """See `engines.base.Prepared.why_slow`."""
        return self._why_slow or ("" if self._collapsed is not None else note())

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
        sampled = len(self._sample(x.shape[0])) / x.shape[0] if x.shape[0] else 1.0
        counted = self._blocks[0].engine is not None
        dtype = self._dtype if not fractions and self.denominator == 1 else np.dtype(np.int64)
        values = self._counted(x, numbers, counts, measured, dtype) if counted else self._summed(x, numbers, counts, measured)
        _scale(counts, measured, sampled)
        if self._collapsed is not None:
            values = self._collapsed.multiply(x, self._dtype, self._kernels)
            return Outcome(values.astype(np.int64) * self.denominator if fractions else values, counts, "collapsed", sampled)
        values = values if fractions else divide(values, self.denominator, self._dtype)
        return Outcome(values, counts, "popcount" if counted else "planes", sampled)

    def _counted(
        self, x: np.ndarray, numbers: np.ndarray, counts: MvmCounts, measured: Measured, dtype: np.dtype[np.signedinteger]
    ) -> np.ndarray:
        """Numerators by popcounts, unless results collapse; counts, and what conversions did on a sample."""
        coding, outputs, lossy = self._coding, self._w.shape[1], self._collapsed is None
        sample, every = self._sample(x.shape[0]), lossy or masks.masked(self._coding)
        x = x if x.flags.c_contiguous else np.ascontiguousarray(x)
        taken = x if every else x[sample]
        parts = packing.input_bytes(taken, coding)
        totals: dict[tuple[int, np.dtype[np.signedinteger]], np.ndarray] = {}
        shifts = np.zeros(x.shape[0] if lossy and self._shifted() else 0, np.int64)
        pieces: dict[int, list[tuple[Inputs, Weights]]] = {}
        for block in self._blocks:
            engine, weights = block.engine, block.weights
            assert engine is not None, "blocks are packed"
            assert weights is not None, "blocks are packed"
            applied = engine.inputs(taken, parts, block.start, block.stop)
            inputs.tally_block(counts, applied.n_en if every else _repeated(applied.n_en, x.shape[0]), block.holding, outputs, coding)
            pieces.setdefault(block.holding, []).append((applied.taken(sample) if every else applied, weights))
            if lossy:
                key = engine.rules.gain, engine.rules.total
                if key not in totals:
                    totals[key] = np.zeros((x.shape[0], outputs), engine.rules.total)
                engine.add(totals[key], applied, weights, numbers)
                if shifts.size:
                    shifts += engine.shifts(applied)
        for block in {block.holding: block for block in self._blocks}.values():
            assert block.engine is not None, "blocks are packed"
            if lossy:
                block.engine.measure(measured, pieces[block.holding], outputs, numbers[sample])
            else:
                block.engine.moments(measured, pieces[block.holding], outputs)
        engine = self._blocks[0].engine
        assert engine is not None, "blocks are packed"
        inputs.tally_rows(counts, engine.driven(x), self._weight_sums, outputs, coding)
        return self._finished(totals, shifts, x, dtype) if lossy else np.empty((0, 0), dtype)

    def _shifted(self) -> bool:
        return any(block.engine is not None and block.engine.rules.shift for block in self._blocks)

    def _finished(
        self,
        totals: dict[tuple[int, np.dtype[np.signedinteger]], np.ndarray],
        shifts: np.ndarray,
        x: np.ndarray,
        dtype: np.dtype[np.signedinteger],
    ) -> np.ndarray:
        """Numerators [N, J] of results, as `_corrected`, of sums of codes and their gains."""
        ((gain, _), total), *others = totals.items()
        for (other, _), more in others:
            total = total.astype(np.int64) * gain + more.astype(np.int64) * other
            gain = 1
        if self._coding.encoding == "xnor":
            return self._corrected(total.astype(np.int64) * gain + (shifts[:, None] if shifts.size else 0), x).astype(dtype, copy=False)
        share = self.denominator << (self._coding.weight_bits - 1) if self._coding.encoding == "offset" else 0
        values = np.empty(total.shape, dtype)
        assert self._kernels is not None, "bits were counted by the kernels"
        self._kernels.finish(total, gain, shifts, x, share, values)
        return values

    def _summed(self, x: np.ndarray, numbers: np.ndarray, counts: MvmCounts, measured: Measured) -> np.ndarray:
        """The same by float products of digit planes."""
        coding, outputs, lossy = self._coding, self._w.shape[1], self._collapsed is None
        sample = self._sample(x.shape[0])
        total = np.zeros((x.shape[0], outputs), np.int64)
        for index, block in enumerate(self._blocks):
            applied = inputs.apply(x[:, block.start : block.stop], coding)
            inputs.tally_block(counts, applied.n_en, block.holding, outputs, coding)
            part, conversions = self._w[block.start : block.stop], self._conversions[block.holding]
            planes = Planes(part, coding, conversions, self._first_block + index, self._first_column)
            if len(sample) == x.shape[0]:
                planes.add(total, applied, numbers, measured)
                continue
            if lossy:
                planes.add(total, applied, numbers, None)
            planes.add(np.zeros((len(sample), outputs), np.int64), applied.taken(sample), numbers[sample], measured)
        inputs.tally_rows(counts, inputs.driven(x, coding), self._weight_sums, outputs, coding)
        return self._corrected(total, x) if lossy else total

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


def _repeated(n_en: np.ndarray, vectors: int) -> np.ndarray:
    """N_en [digits, vectors] of which all vectors have the first's."""
    return np.broadcast_to(n_en[:, :1], (n_en.shape[0], vectors if n_en.shape[1] else 0))


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
