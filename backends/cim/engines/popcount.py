"""Every conversion by counting bits: a block's planes packed to words, its products and statistics by the compiled kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netwright.backends.cim.coding import adc, masks, noise, slicing
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.engines import packing
from netwright.backends.cim.engines.compiled import Kernels
from netwright.backends.cim.engines.conversions import Conversions
from netwright.backends.cim.engines.disturbances import Disturbances
from netwright.backends.cim.engines.inputs import Driven
from netwright.backends.cim.engines.measured import Measured
from netwright.backends.cim.engines.rules import CLAMP, KIND, Rules

VECTORS = 128
"""Vectors whose disturbances are held at once."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """One block's inputs.

    Attributes:
        x: [N, holding].
        words: [N, planes, words].
        n_en: int64 [digits, N].
    """

    x: np.ndarray
    words: np.ndarray
    n_en: np.ndarray

    def taken(self, vectors: np.ndarray) -> Inputs:
        """Some of the vectors."""
        if vectors.size == self.x.shape[0]:
            return self
        return Inputs(self.x[vectors], self.words[vectors], np.ascontiguousarray(self.n_en[:, vectors]))


@dataclass(frozen=True, slots=True)
class Weights:
    """One block's weights.

    Attributes:
        words: [planes of a cell, words, lanes].
        noise: None for none.
    """

    words: np.ndarray
    noise: Disturbances | None


class Popcount:
    """What blocks of as many rows have in common.

    Args:
        coding: how.
        conversions: of sums.
        rules: of the kernel.
        kernels: compiled.
    """

    def __init__(self, coding: Coding, conversions: Conversions, rules: Rules, kernels: Kernels) -> None:
        self.coding, self.rules, self.kernels = coding, rules, kernels
        self._conversions = conversions
        self._layout = packing.layout_of(coding)
        self._digit_factors = np.array(slicing.input_places(coding), np.int64)
        self._cell_places = np.array(slicing.weight_places(coding), np.int64)
        self._most = coding.rows * adc.unit_sum(coding)
        self._tail = np.zeros(64, np.uint8)

    def weights(self, w: np.ndarray, block: int, first_column: int) -> Weights:
        """One block's weights [holding, J] as words, and their noise."""
        coding = self.coding
        words = packing.weight_words(w, coding, self.rules.words).view(self.rules.lanes)
        noisy = coding.noise if noise.disturbs(coding) else None
        return Weights(words, None if noisy is None else Disturbances(w, coding, noisy, block, first_column, words.shape[2]))

    def inputs(self, x: np.ndarray, parts: list[np.ndarray], start: int, stop: int) -> Inputs:
        """One block's inputs, rows `start` … `stop` of x [N, K] and of its bytes, as words, and the rows that their masks enable."""
        coding, word = self.coding, self.rules.words.itemsize * 8
        bits = 1 if coding.encoding == "xnor" else coding.input_bits
        words = packing.words_of(stop - start, coding, word)
        planes = np.empty((x.shape[0], bits, -(-words * word // 64)), np.uint64)
        for byte, part in enumerate(parts):
            own, signs = min(8, bits - 8 * byte), coding.encoding == "xnor"
            self.kernels.pack(part, start, stop, signs, 8 * byte, own, self._tail.copy(), planes)
        unmasked = masks.unmasked_rows(coding, stop - start)
        n_en = np.full((len(self._digit_factors), x.shape[0]), unmasked, np.int64)
        if masks.masked(coding):
            self._enable(x[:, start:stop], planes, unmasked, n_en)
        return Inputs(x[:, start:stop], planes.view(self.rules.lanes), n_en)

    def _enable(self, x: np.ndarray, planes: np.ndarray, unmasked: int, n_en: np.ndarray) -> None:
        coding, spans = self.coding, self._layout.spans
        most, by_value = masks.most_kept(coding.masking, x.shape[1]), coding.masking.granularity in masks.BY_VALUE
        group = masks.groups_of(coding.masking)
        if group == 1:
            self.kernels.enabled_rows(planes, spans, by_value, most, unmasked, n_en)
            return
        bits = (1 << np.diff(spans)) - 1 if not by_value else np.full(len(spans) - 1, (1 << coding.input_bits) - 1)
        lows = spans[:-1] if not by_value else np.zeros(len(spans) - 1, np.int64)
        self.kernels.enabled_groups(unsigned(x), group, lows, bits, most, unmasked, n_en)

    def add(self, total: np.ndarray, inputs: Inputs, weights: Weights, numbers: np.ndarray) -> None:
        """Add the sums of codes at their places to `total` [N, J] of the rules' type."""
        rules, layout, lanes, noisy = self.rules, self._layout, weights.words.shape[2], weights.noise
        p, t, u = np.empty(lanes, rules.lanes), np.zeros(lanes, rules.lanes), np.empty(total.shape[1], rules.partial)
        fixed = (
            layout.spans,
            layout.signs,
            rules.groups,
            rules.places,
            rules.factors,
            self._cell_places,
            rules.by_rows,
            rules.scales,
            p,
            t,
            u,
        )
        rule = rules.by_rows[masks.unmasked_rows(self.coding, inputs.x.shape[1])]
        if noisy is None and self._uniform(weights.words, int(rule[KIND])):
            own = (rule, rules.groups, rules.places, rules.factors, self._cell_places, t, u)
            self.kernels.uniform_product(inputs.words, weights.words[0], *own, total)
            return
        if noisy is None:
            self.kernels.product(inputs.words, weights.words, inputs.n_en, *fixed, total)
            return
        for start in range(0, total.shape[0], VECTORS):
            rows = slice(start, start + VECTORS)
            n_en = np.ascontiguousarray(inputs.n_en[:, rows])
            where = (noisy.keys(numbers[rows]), noisy.block, noisy.steps, noisy.table, noisy.extra(inputs.x[rows]))
            self.kernels.disturbed_product(inputs.words[rows], weights.words, n_en, *fixed, total[rows], *where)

    def _uniform(self, words: np.ndarray, kind: int) -> bool:
        """Whether `uniform_product` does: no masks, digits and cells of one bit, whole passes of words, simple conversions in pairs."""
        plain = len(self._layout.signs) == 1 and bool(np.all(np.diff(self._layout.spans) == 1))
        pairs = bool(np.all(np.diff(self.rules.groups) % 2 == 0))
        return plain and pairs and words.shape[1] == packing.WORDS and kind <= CLAMP and not masks.masked(self.coding)

    def shifts(self, inputs: Inputs) -> np.ndarray:
        """What codes of 0 stand for, numerators int64 [N] of one block; rules have such a shift."""
        active = (self._digit_factors[:, None] * (inputs.n_en > 0)).sum(axis=0)
        return active * sum(slicing.weight_places(self.coding)) * self.rules.shift

    def moments(self, measured: Measured, pieces: list[tuple[Inputs, Weights]], outputs: int) -> None:
        """Add the sums of blocks whose conversions lose nothing: none is clamped or inexact."""
        layout, unit = self._layout, adc.unit_sum(self.coding)
        found = np.zeros((self.coding.rows + 1, 3), np.int64)
        lanes = outputs * len(self._cell_places)
        for inputs, weights in pieces:
            p = np.empty(weights.words.shape[2], self.rules.lanes)
            signs = np.abs(layout.signs)
            self.kernels.moments(inputs.words, weights.words, inputs.n_en, layout.spans, signs, layout.line, lanes, p, found)
        rows = np.flatnonzero(found[:, 0])
        sums, squares = found[rows, 1], found[rows, 2]
        measured.conversions += int(found[:, 0].sum()) * layout.line // len(layout.signs)
        measured.counts += int(sums.sum())
        measured.charge += float((sums - squares / (rows * unit)).sum())

    def measure(self, measured: Measured, pieces: list[tuple[Inputs, Weights]], outputs: int, numbers: np.ndarray) -> None:
        """Add what blocks' conversions did."""
        layout, unit, planes = self._layout, adc.unit_sum(self.coding), len(self._layout.signs)
        rows, sums, times = self._histogram(pieces, np.array([0, planes], np.int64), layout.signs, outputs)
        if not rows.size:
            return
        measured.conversions += int(times.sum())
        if noise.disturbs(self.coding):
            self._disturbed(measured, pieces, outputs, numbers)
        else:
            numerators, saturated = self._conversions.convert(sums[:, None], rows)
            measured.saturated += int(times[saturated[:, 0]].sum())
            measured.inexact += int(times[numerators[:, 0] != sums * adc.denominator(self.coding)].sum())
        if adc.signed(self.coding):
            cells = np.arange(0, planes + 1, layout.line, dtype=np.int64)
            rows, sums, times = self._histogram(pieces, cells, np.abs(layout.signs), outputs)
        measured.counts += int((times * sums).sum())
        measured.charge += float((times * (sums * (1 - sums / (rows * unit)))).sum())

    def _disturbed(self, measured: Measured, pieces: list[tuple[Inputs, Weights]], outputs: int, numbers: np.ndarray) -> None:
        layout, unit = self._layout, adc.denominator(self.coding)
        for inputs, weights in pieces:
            p, noisy = np.empty(weights.words.shape[2], self.rules.lanes), weights.noise
            assert noisy is not None, "sums are disturbed"
            where = (noisy.keys(numbers), noisy.block, noisy.steps, noisy.table, noisy.extra(inputs.x))
            what = (layout.spans, layout.signs, outputs, len(self._cell_places), self._conversions.table, unit, p)
            saturated, inexact = self.kernels.disturbed_tally(inputs.words, weights.words, inputs.n_en, *what, *where)
            measured.saturated += int(saturated)
            measured.inexact += int(inexact)

    def _histogram(
        self, pieces: list[tuple[Inputs, Weights]], cells: np.ndarray, signs: np.ndarray, outputs: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The different (n_en, sum) and how often each was."""
        lanes = self.rules.lanes
        offset = self._most if lanes.kind == "i" else 0
        rows = np.flatnonzero(sum(np.bincount(inputs.n_en.ravel(), minlength=self.coding.rows + 1) for inputs, _ in pieces))
        if not rows.size:
            return rows, rows, rows
        tables = np.zeros((4, rows.size, self._most + offset + 1), np.int64)
        for inputs, weights in pieces:
            numbers = np.where(inputs.n_en > 0, np.searchsorted(rows, inputs.n_en) + (1 if rows[0] else 0), 0)
            p = np.empty(weights.words.shape[2], lanes)
            used = outputs * len(self._cell_places)
            self.kernels.histogram(inputs.words, weights.words, numbers, self._layout.spans, cells, signs, used, offset, p, tables)
        bins = tables.sum(axis=0)
        at, sums = np.nonzero(bins)
        return rows[at] if rows[0] else rows[at + 1], sums - offset, bins[at, sums]

    def driven(self, x: np.ndarray) -> Driven:
        """What all inputs [N, K] drive."""
        coding = self.coding
        if coding.encoding == "xnor":
            sums = np.count_nonzero(x > 0, axis=0).astype(np.int64)
            return Driven(sums, int(sums.sum()))
        bits = unsigned(x)
        sums = np.zeros(x.shape[1], np.uint32)
        if coding.digit_bits == 1 and bits.dtype == np.uint8 and coding.input_bits == 8:
            self.kernels.driven_bits(bits, sums)
            return Driven(sums.astype(np.int64), int(sums.sum(dtype=np.int64)))
        values = (
            np.arange(1 << (8 * bits.dtype.itemsize), dtype=np.uint32)
            .astype(bits.dtype)
            .view(bits.dtype.str.replace("u", "i") if coding.input_signed else bits.dtype)
        )
        digits = slicing.digits_of(values, coding)
        nonzero = self.kernels.driven_digits(bits, digits.sum(axis=0, dtype=np.uint32), np.count_nonzero(digits, axis=0), sums)
        return Driven(sums.astype(np.int64), int(nonzero))


def unsigned(x: np.ndarray) -> np.ndarray:
    """Inputs of at most 16 bits as unsigned bytes, or pairs of bytes, of the same bits."""
    if x.dtype.itemsize == 1:
        return x.view(np.uint8)
    return x.astype(np.int64).astype(np.uint16)
