"""Trying LSTMs out before deciding on them: their outputs as integers against their float outputs, on the activations that they see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from netwright.ir.editor import Editor
from netwright.passes.quantize.choice import Axis, Outliers
from netwright.passes.quantize.outliers import Spread, spreads
from netwright.passes.quantize.recurrent.lstm import quantize_lstm
from netwright.passes.quantize.recurrent.states import HIDDEN
from netwright.passes.quantize.sites import Site, find_sites
from netwright.passes.quantize.units import Unit, units_of
from netwright.passes.quantize.weights import float_array

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Executor, Feeds
    from netwright.passes.quantize.choice import Dynamic

WELL = 0.03
"""A relative error of a layer's outputs that needs no parts: what trained layers come out with as they are."""

ENOUGH = 0.05
"""One that needs no more parts, where there are some. A trained speaker encoder, voices that nothing else saw: with the first layer off by
0.045 (4 chunks) the mean cosine of embeddings is 0.993, by 0.041 (8 chunks) 0.994, by 0.055 0.984."""

WHOLE = 0.04
"""One with which recurrent weights may have one scale for all (see `recurrent.states`)."""

CHUNKS: Mapping[int, float] = MappingProxyType({1: WELL, 4: WELL, 8: ENOUGH})
"""Into how many chunks an input is cut, in the order of trying, each where the error before is above a limit; one that is not cut is
smoothed."""

_LARGEST = 2.0**24


@dataclass(frozen=True, slots=True)
class LstmTrial:
    """The way in which a unit of LSTMs comes out best, or well enough.

    Attributes:
        error: largest over its layers, |int8 - float| / |float|, in the Euclidean norm over all feeds.
        outliers: factors by which channels of the input are divided.
        chunks: into how many the input's range is cut.
        plain: the error without either.
        states: along which scales of the recurrent weights vary.
    """

    error: float
    outliers: Outliers
    chunks: int
    plain: float
    states: Axis = "column"


def lstm_trials(
    program: Program, executor: Executor, feeds: Sequence[Feeds], units: Sequence[Unit], choice: Dynamic
) -> dict[Unit, LstmTrial]:
    """For each unit of LSTMs in the main graph, the first way whose error is small enough, else that of the least error.

    Ways are, in this order: as it is; input channels smoothed; smoothed and in 4, then 8 chunks (`recurrent.inputs`). Wide layers then get
    one scale for all recurrent weights where they bear it. Runs the program as it is and with each way once on each feed.

    Args:
        program: left as it is.
        executor: runs it, and clones of it.
        feeds: inputs of the program, like those it will see: peaks of each channel are looked at.
        units: those without LSTMs are passed over.
        choice: how they would be quantized.
    """
    plain = lstm_errors(program, executor, feeds, units, choice)
    found = {unit: LstmTrial(error, (), 1, error) for unit, error in plain.items()}
    poor = [unit for unit, trial in found.items() if trial.error > WELL]
    factors = input_factors(program, executor, feeds, poor)
    for chunks, limit in CHUNKS.items():
        poor = [unit for unit in poor if found[unit].error > limit and unit in factors]
        if not poor:
            break
        errors = lstm_errors(program, executor, feeds, poor, choice, factors=factors, chunks=chunks)
        for unit, error in errors.items():
            if error < found[unit].error:
                found[unit] = LstmTrial(error, factors[unit], chunks, plain[unit])
    return found | _with_one_scale(program, executor, feeds, found, choice)


def _with_one_scale(
    program: Program, executor: Executor, feeds: Sequence[Feeds], found: Mapping[Unit, LstmTrial], choice: Dynamic
) -> dict[Unit, LstmTrial]:
    """Units whose recurrent weights do with one scale."""
    wide = [unit for unit, trial in found.items() if trial.error <= WHOLE and unit.sites[0].columns >= HIDDEN]
    made: dict[Unit, LstmTrial] = {}
    for chunks in dict.fromkeys(found[unit].chunks for unit in wide):
        own = [unit for unit in wide if found[unit].chunks == chunks]
        factors = {unit: found[unit].outliers for unit in own}
        errors = lstm_errors(program, executor, feeds, own, replace(choice, states="tensor"), factors=factors, chunks=chunks)
        made.update({unit: replace(found[unit], error=error, states="tensor") for unit, error in errors.items() if error <= WHOLE})
    return made


def input_factors(program: Program, executor: Executor, feeds: Sequence[Feeds], units: Sequence[Unit]) -> dict[Unit, Outliers]:
    """Factors that leave each channel of an LSTM's input and of W a like share of their range: f_k² = peak x_k / peak W_k.

    Powers of two, so that W f and x / f are the same product to the bit; the least is 1. After SmoothQuant (Xiao et al., 2022), alpha 1/2.

    Args:
        program: left as it is.
        executor: runs it.
        feeds: inputs of the program.
        units: of LSTMs.
    """
    names = {unit: [(value.name or "") for site in unit.sites if (value := site.node.inputs[0]) is not None] for unit in units}
    every = list(dict.fromkeys(name for own in names.values() for name in own))
    if not every:
        return {}
    seen = spreads(program, executor, feeds, every)
    found: dict[Unit, Outliers] = {}
    for unit, own in names.items():
        if any(name not in seen or not seen[name].finite for name in own):
            continue
        spread = reduce(Spread.joined, [seen[name] for name in own])
        peaks = np.maximum(spread.high, -spread.low).mean(axis=0)
        weights = {site.weights[0] for site in unit.sites}
        steep = np.max([np.abs(float_array(weight)).max(axis=(0, 1)) for weight in weights], axis=0).astype(np.float64)
        if not (peaks > 0).any() or not (steep > 0).any():
            continue
        wanted = np.sqrt(np.maximum(peaks, peaks.max() / _LARGEST) / np.maximum(steep, steep.max() / _LARGEST))
        powers = 2.0 ** np.rint(np.log2(wanted / wanted.min()))
        found[unit] = tuple((int(channel), int(powers[channel])) for channel in np.flatnonzero(powers > 1))
    return found


def lstm_errors(
    program: Program,
    executor: Executor,
    feeds: Sequence[Feeds],
    units: Sequence[Unit],
    choice: Dynamic,
    *,
    factors: Mapping[Unit, Outliers] | None = None,
    chunks: int = 1,
) -> dict[Unit, float]:
    """Relative error of each unit of LSTMs in the main graph, each layer fed what the float layers before it give.

    Args:
        program: left as it is; a clone is quantized.
        executor: runs both.
        feeds: inputs of the program.
        units: those without LSTMs are passed over.
        choice: how they would be quantized.
        factors: by which input channels are divided.
        chunks: into how many the input's range is cut.

    Returns:
        By unit, the largest error over its layers: |int8 - float| / |float| in the Euclidean norm over all feeds.
    """
    wanted = {unit: [site for site in unit.sites if site.kind == "lstm" and site.node.graph is program.graph] for unit in units}
    if not any(wanted.values()):
        return {}
    clone = program.clone()
    outliers = {site.name: own for unit, own in (factors or {}).items() for site in unit.sites}
    chosen = {site.name for sites in wanted.values() for site in sites}
    for unit in units_of(site for site in find_sites(clone) if isinstance(site, Site) and site.name in chosen):
        with Editor(clone, at=unit.sites[0].node) as editor:
            quantize_lstm(editor, unit, replace(choice, outliers=outliers.get(unit.sites[0].name, ()), chunks=chunks))
    errors: dict[Unit, float] = {}
    for unit, sites in wanted.items():
        if sites:
            errors[unit] = max(_error(program, clone, executor, feeds, site) for site in sites)
    return errors


def _error(program: Program, clone: Program, executor: Executor, feeds: Sequence[Feeds], site: Site) -> float:
    given = [value.name or "" for value in site.node.inputs if value is not None and value.const_value is None]
    needed = {value.name for node in clone.graph for value in node.inputs if value is not None}  # an initial state of zeros is not
    read = [value.name or "" for value in site.node.outputs if value.uses() or value.is_graph_output()]
    off = whole = 0.0
    for batch in feeds:
        expected = executor.run(program, batch, list(dict.fromkeys([*given, *read])))
        found = executor.run(clone, {name: expected[name] for name in given if name in needed}, read)
        off += sum(float(np.sum((found[name] - expected[name]) ** 2)) for name in read)
        whole += sum(float(np.sum(expected[name] ** 2)) for name in read)
    return (off / whole) ** 0.5 if whole > 0 else 0.0
