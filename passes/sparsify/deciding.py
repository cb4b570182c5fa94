"""Thresholds from data: for a share of zeros, or for what a metric may lose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType

import numpy as np

from netwright.ir.errors import DataError
from netwright.ir.opinfo import is_float
from netwright.ir.program import Program
from netwright.passes.context import Context, Executor, Feeds
from netwright.passes.planning import least_that_fits
from netwright.passes.sparsify.maps import FeatureMap
from netwright.passes.sparsify.padding import counting, padding_of
from netwright.passes.sparsify.thresholding import Dials, applied, dialled
from netwright.passes.statistics import feeds_of, pieces

ROWS, PIECES = 8, 2
"""Of the calibration data: rows to a piece, and how many pieces are looked at."""
SHARES = (0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.9, 0.97)
"""Shares of zeros whose cost is measured at each map."""
FINE = np.linspace(0.0, SHARES[-1], 98)
"""Shares that are chosen from; what they cost lies between what was measured."""
SAMPLES = 1 << 17
"""Values of each map and piece that quantiles are taken of."""
STEPS = 10
"""Candidates whose metric is taken."""
_STAGES = MappingProxyType({"query": "inputs", "key": "inputs", "value": "inputs"})
"""Maps of an attention that do not change one another."""
_RANGE = 1e-7
"""Of prices: the least over the highest."""


@dataclass(frozen=True, slots=True)
class Magnitudes:
    """What was seen of a map.

    Attributes:
        sample: magnitudes, sorted.
        size: how many values there were.
        peak: the largest magnitude.
    """

    sample: np.ndarray
    size: int
    peak: float

    def quantile(self, share: float) -> float:
        """The magnitude up to which a share of the values lies; 0 for none."""
        if share <= 0 or not self.sample.size:
            return 0.0
        return float(self.sample[min(int(np.ceil(share * self.sample.size)), self.sample.size) - 1])


def thresholds_for_zeros(program: Program, shares: Mapping[FeatureMap, float], context: Context) -> dict[FeatureMap, float]:
    """The threshold at each map up to which that share of its values lies on calibration data.

    One after the other, in graph order, since zeros in one map change the next. Runs of the program: `PIECES` times maps.

    Raises:
        DataError: there is no calibration data.
    """
    executor, feeds = _data(program, context)
    dialling = dialled(program, list(shares))
    found: dict[FeatureMap, float] = {}
    for _, group in groupby(shares, key=lambda one: (one.site, _STAGES.get(one.kind, one.kind))):
        seen = _magnitudes(program, list(group), executor, feeds, dialling, found)
        found.update({one: held.quantile(shares[one]) for one, held in seen.items()})
    return found


def scales_of(program: Program, thresholds: Mapping[FeatureMap, float], context: Context) -> dict[FeatureMap, float]:
    """The step of int8 for each map that is on no grid yet: its largest magnitude in 127 steps, on calibration data, with thresholds.

    Raises:
        DataError: there is no calibration data.
    """
    executor, feeds = _data(program, context)
    maps = [one for one in thresholds if one.grid is None]
    seen = _magnitudes(program, maps, executor, feeds, dialled(program, list(thresholds)), thresholds)
    return {one: (found.peak or 1.0) / 127 for one, found in seen.items()}


def thresholds_for_drop(
    program: Program, maps: Sequence[FeatureMap], drop: float, context: Context, *, rounded: bool
) -> tuple[dict[FeatureMap, float], str]:
    """Thresholds that make as many values zero as a fall of the metric allows.

    What zeros in one map cost is measured at each of `SHARES`, the others left as they are: the squared error of the outputs. A price
    for a value then says how far each map goes, to where cost minus price times zeros is least (a budget shared out by a Lagrange
    multiplier: Shoham and Gersho, 1988), and the price is the highest at which the metric of the whole program holds. Runs of the
    program: maps times `SHARES` times `PIECES`, and up to `STEPS` + 3 of the metric.

    Args:
        program: whose metric may fall.
        maps: that get thresholds.
        drop: by how much.
        context: has calibration data, an executor and the metric.
        rounded: maps that are on no grid become int8, so that what this costs counts too.

    Returns:
        A threshold for each map, and what was found, in words.

    Raises:
        DataError: there is no calibration data.
    """
    executor, feeds = _data(program, context)
    metric = context.metric
    assert metric is not None, "needs() asks for it"
    dialling = dialled(program, maps)
    seen = _magnitudes(program, maps, executor, feeds, dialling)
    costs = _costs(maps, seen, executor, feeds, dialling)
    fine = {one: np.interp(FINE, (0.0, *SHARES), (0.0, *costs[one])) for one in maps}
    scales = {one: (seen[one].peak or 1.0) / 127 for one in maps if rounded and one.grid is None}
    highest = 8 * max(float(cost[-1]) for cost in fine.values()) / min(found.size for found in seen.values())
    whole = metric(program)
    lost: dict[tuple[float, ...], float] = {}

    def make(caution: float) -> tuple[float, ...]:
        price = highest * _RANGE**caution
        if caution == 1.0:
            return (0.0,) * len(maps)
        return tuple(seen[one].quantile(float(FINE[np.argmin(fine[one] - price * FINE * seen[one].size)])) for one in maps)

    def load_of(thresholds: tuple[float, ...]) -> float:
        changed = any(thresholds) or bool(scales)
        lost[thresholds] = whole - metric(applied(program, dict(zip(maps, thresholds, strict=True)), scales)) if changed else 0.0
        return lost[thresholds] / drop if drop > 0 else (2.0 if lost[thresholds] > 0 else 0.0)

    search = least_that_fits(make, load_of, high=1.0, steps=STEPS)
    note = f"the metric falls by {lost[search.candidate]:.4g} of {drop:g} allowed ({search.tried} thresholds tried, from {whole:.4g})"
    return dict(zip(maps, search.candidate, strict=True)), note


def _costs(
    maps: Sequence[FeatureMap],
    seen: Mapping[FeatureMap, Magnitudes],
    executor: Executor,
    feeds: Sequence[Feeds],
    dialling: tuple[Program, Dials],
) -> dict[FeatureMap, list[float]]:
    """Squared error of the float outputs relative to their squares, by map and share; never less than that of fewer zeros."""
    copy, dials = dialling
    outputs = [value.name or "" for value in copy.outputs if value.dtype is None or is_float(value.dtype)]
    off: dict[FeatureMap, np.ndarray] = {one: np.zeros(len(SHARES)) for one in maps}
    size = 0.0
    for batch in feeds:
        given = {**batch, **dials.all_off()}
        whole = executor.run(copy, given, outputs)
        size += _squares(whole)
        for one in maps:
            for place, share in enumerate(SHARES):
                found = executor.run(copy, {**given, **dials.at(one, seen[one].quantile(share))}, outputs)
                off[one][place] += _squares({name: found[name].astype(np.float64) - whole[name] for name in outputs})
    return {one: np.maximum.accumulate(errors / (size or 1.0)).tolist() for one, errors in off.items()}


def _squares(arrays: Mapping[str, np.ndarray]) -> float:
    return sum(float(np.sum(np.square(array, dtype=np.float64))) for array in arrays.values())


def _data(program: Program, context: Context) -> tuple[Executor, list[dict[str, np.ndarray]]]:
    if context.calibration is None or context.executor is None:
        raise DataError("Thresholds are found on data, and there is none.", place="sparsify_activations", remedy="Give calibration=.")
    found = pieces(program, context.calibration, rows=ROWS, most=PIECES, seed=context.seed)
    return context.executor, list(feeds_of(program, found))


def _magnitudes(
    program: Program,
    maps: Sequence[FeatureMap],
    executor: Executor,
    feeds: Sequence[Feeds],
    dialling: tuple[Program, Dials],
    thresholds: Mapping[FeatureMap, float] = MappingProxyType({}),
) -> dict[FeatureMap, Magnitudes]:
    """What each map holds of its tokens before it is made sparse, where others are: a spread of its values, all where they are few."""
    parts: dict[FeatureMap, list[np.ndarray]] = {one: [] for one in maps}
    sizes, peaks = dict.fromkeys(maps, 0), dict.fromkeys(maps, 0.0)
    padding = padding_of(program)
    copy, dials = dialling
    names = list(dict.fromkeys((*(dials.whole[one] for one in maps), *padding.names)))
    given = dials.all_at(thresholds)
    for batch in feeds if maps else ():
        values = executor.run(copy, {**batch, **given}, names)
        tokens = padding.tokens(values)
        for one in maps:
            held = counting(values[dials.whole[one]].astype(np.float32), tokens).reshape(-1)
            magnitudes = np.maximum(held, 0) if one.clamped else np.abs(held)
            finite = magnitudes[np.isfinite(magnitudes)]
            sizes[one] += magnitudes.size
            peaks[one] = max(peaks[one], float(finite.max(initial=0.0)))
            parts[one].append(finite[:: -(-finite.size // SAMPLES) or 1])
    return {one: Magnitudes(np.sort(np.concatenate(parts[one])), sizes[one], peaks[one]) for one in maps}
