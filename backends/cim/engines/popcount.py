"""Every conversion by counting bits: a block's planes packed to words, its products and statistics by the compiled kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netwright.backends.cim.coding import adc, masks, slicing
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.engines import packing
from netwright.backends.cim.engines.compiled import Kernels
from netwright.backends.cim.engines.conversions import Conversions
from netwright.backends.cim.engines.inputs import Driven
from netwright.backends.cim.engines.measured import Measured
from netwright.backends.cim.engines.rules import Rules


@dataclass(frozen=True, slots=True)
class Inputs:
    """One block's inputs.

    Attributes:
        words: [N, planes, words].
        n_en: int64 [digits, N].
    """

    words: np.ndarray
    n_en: np.ndarray

    def taken(self, vectors: np.ndarray) -> Inputs:
        """Some of the vectors."""
        return Inputs(self.words[vectors], np.ascontiguousarray(self.n_en[:, vectors]))


class Popcount:
    """What blocks have in common.

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
        self._most = coding.rows * adc.unit_sum(coding)

    def weights(self, w: np.ndarray) -> np.ndarray:
        """One block's weights [holding, J] as words."""
        return packing.weight_words(w, self.coding, self.rules.words)

    def inputs(self, x: np.ndarray) -> Inputs:
        """One block's inputs [N, holding] as words, and the rows that their masks enable."""
        coding, digits = self.coding, len(self._digit_factors)
        parts: list[np.ndarray] = []
        for byte, padded in enumerate(packing.input_bytes(x, coding, self.rules.words.itemsize * 8)):
            bits = 1 if coding.encoding == "xnor" else min(8, coding.input_bits - 8 * byte)
            planes = np.empty((x.shape[0], bits, padded.shape[1] // 8), np.uint8)
            self.kernels.pack(padded.view(np.uint64), planes)
            parts.append(planes)
        planes = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        unmasked = masks.unmasked_rows(coding, x.shape[1])
        n_en = np.full((digits, x.shape[0]), unmasked, np.int64)
        if masks.masked(coding):
            self._enable(x, planes, unmasked, n_en)
        return Inputs(planes.view(self.rules.words), n_en)

    def _enable(self, x: np.ndarray, planes: np.ndarray, unmasked: int, n_en: np.ndarray) -> None:
        coding, spans = self.coding, self._layout.spans
        most, by_value = masks.most_kept(coding.masking, x.shape[1]), coding.masking.granularity in masks.BY_VALUE
        group = masks.groups_of(coding.masking)
        if group == 1:
            self.kernels.enabled_rows(planes.view(np.uint64), spans, by_value, most, unmasked, n_en)
            return
        bits = (1 << np.diff(spans)) - 1 if not by_value else np.full(len(spans) - 1, (1 << coding.input_bits) - 1)
        lows = spans[:-1] if not by_value else np.zeros(len(spans) - 1, np.int64)
        self.kernels.enabled_groups(unsigned(x), group, lows, bits, most, unmasked, n_en)

    def add(self, total: np.ndarray, inputs: Inputs, weights: np.ndarray) -> None:
        """Add the sums of codes at their places to `total` [N, J] of the rules' type."""
        rules, layout = self.rules, self._layout
        p, t = np.empty(weights.shape[2], rules.lanes), np.empty((2, weights.shape[2]), rules.lanes)
        self.kernels.product(
            inputs.words.view(rules.lanes),
            weights.view(rules.lanes),
            inputs.n_en,
            layout.spans,
            layout.cells,
            layout.signs,
            rules.groups,
            rules.places,
            rules.factors,
            self._digit_factors,
            rules.by_rows,
            rules.scales,
            p,
            t,
            total,
        )

    def shifts(self, inputs: Inputs) -> np.ndarray | int:
        """What codes of 0 stand for, numerators int64 [N, 1] of one block."""
        if not self.rules.shift:
            return 0
        active = (self._digit_factors[:, None] * (inputs.n_en > 0)).sum(axis=0)
        return (active * sum(slicing.weight_places(self.coding)) * self.rules.shift)[:, None]

    def measure(self, measured: Measured, inputs: Inputs, weights: np.ndarray) -> None:
        """Add what one block's conversions did."""
        layout, unit = self._layout, adc.unit_sum(self.coding)
        rows, sums, times = self._histogram(inputs, weights, layout.cells, layout.signs)
        if not rows.size:
            return
        numerators, saturated = self._conversions.convert(sums[:, None], rows)
        measured.conversions += int(times.sum())
        measured.saturated += int(times[saturated[:, 0]].sum())
        measured.inexact += int(times[numerators[:, 0] != sums * adc.denominator(self.coding)].sum())
        if adc.signed(self.coding):
            rows, sums, times = self._histogram(inputs, weights, layout.lines, np.abs(layout.signs))
        measured.counts += int((times * sums).sum())
        measured.charge += float((times * (sums * (1 - sums / (rows * unit)))).sum())

    def _histogram(
        self, inputs: Inputs, weights: np.ndarray, cells: np.ndarray, signs: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The different (n_en, sum) and how often each was."""
        lanes = self.rules.lanes
        offset = self._most if lanes.kind == "i" else 0
        rows = np.flatnonzero(np.bincount(inputs.n_en.ravel(), minlength=1))
        tables = np.zeros((4, rows.size, self._most + offset + 1), np.int64)
        numbers = np.where(inputs.n_en > 0, np.searchsorted(rows, inputs.n_en) + 1, 0)
        p = np.empty(weights.shape[2], lanes)
        self.kernels.histogram(inputs.words.view(lanes), weights.view(lanes), numbers, self._layout.spans, cells, signs, offset, p, tables)
        bins = tables.sum(axis=0)
        at, sums = np.nonzero(bins)
        return rows[at], sums - offset, bins[at, sums]

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
