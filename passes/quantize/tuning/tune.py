"""Choosing by measuring: what each unit becomes, such that the whole is as fast as can be, and never slower than float."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from netwright.ir.errors import ContractError
from netwright.passes.quantize.tuning.assignment import candidates, reason, sides_of
from netwright.passes.quantize.tuning.borders import static_units
from netwright.passes.quantize.tuning.cache import TimingCache
from netwright.passes.quantize.tuning.evidence import feeds_for, float_outputs
from netwright.passes.quantize.tuning.measured import Bench, Measured, calibrated, measure_units, sizes_between
from netwright.passes.quantize.tuning.settings import Carry, Grids, Trial, Tuned, TuneSettings
from netwright.passes.quantize.tuning.timer import Machine, TurnTimer
from netwright.passes.quantize.tuning.wholes import BETTER, WORTH, Candidate, Field, refined, told
from netwright.passes.rewrite import Miss

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context
    from netwright.passes.quantize.choice import Choice
    from netwright.passes.quantize.units import Unit


_FACTORS = {"the fastest by site": 1.0, "more static sites": 0.75, "fewer static sites": 1.33}
"""What the time of a static site counts: a kernel alone also turns its operands into the order of axes that it likes, and back, in float
and in integers; among its like it does not."""


def tuned(
    program: Program,
    options: Mapping[Unit, Sequence[Choice]],
    grids: Grids,
    context: Context,
    carry: Carry,
    settings: TuneSettings | None = None,
) -> Tuned:
    """Choose one form for each unit.

    Units are measured alone (equal ones once), then whole programs in turns: one scheme for all, each unit's first option, the fastest by
    site; the best is refined by trying groups of equal units in other forms. What wins is timed against float once more, and where it is
    not faster, everything stays float.

    Args:
        program: float; left as it is.
        options: by unit of it, what it may become, the usual first.
        grids: of activations, for static choices.
        context: a timer that times in turns, an executor, and data or what makes inputs up.
        carry: carries choices out on a clone.
        settings: limits; the usual where not given.

    Raises:
        ContractError: no timer, or no executor.
        DataError: no inputs.
    """
    limits = settings or TuneSettings()
    if context.executor is None or not isinstance(context.timer, TurnTimer):
        raise ContractError(
            "tune='latency' measures on this machine, and there is nothing to measure with.",
            place="quantize",
            remedy="Use `netwright compile` or nw.compile, which run models; or leave tune out.",
        )
    feeds = feeds_for(program, context)
    if not feeds:
        raise ContractError("tune='latency' needs inputs to run the model on.", place="quantize", remedy="Give calibration data.")
    started = time.perf_counter()
    cache = TimingCache(limits.cache, _machine(context))
    bench, converters = calibrated(Bench(carry, grids, context.executor, context.timer, cache))
    units = measure_units(program, options, feeds[0], bench, limits.site_error)
    wanted = float_outputs(program)
    field = Field(program, feeds, [context.executor.run(program, one, wanted) for one in feeds], bench, limits.output_error)
    whole_ms = min(context.timer.turns([program], feeds[:1], rounds=5, seconds=0.5)[0])
    sides = sides_of(units)
    sizes = sizes_between(program, units, feeds[0], context.executor) if sides else {}
    statics = {
        label: static_units(program, [replace(one, static=factor * one.static) for one in sides], sizes, converters)
        for label, factor in _FACTORS.items()
    }
    rivals, refused = _candidates(field, candidates(units, statics, whole_ms))
    cache.save()
    trials = field.trials(rivals)
    ranked = _ranked(rivals, trials[1:])
    if ranked:
        best = refined(field, ranked[0], units, trials, started + limits.seconds)
        ranked = [best, *(one for one in ranked if one is not best)]
    for one in ranked:
        final = field.trials([one])
        if final[1].ratio < BETTER:
            return _tuned(units, one, (*trials, final[1]))
    return _all_float(units, trials, refused)


def _ranked(rivals: Sequence[Candidate], trials: Sequence[Trial]) -> list[Candidate]:
    """The fastest first; of those that are nearly as fast as it, the one with the least error."""
    least = min((one.ratio for one in trials), default=0.0) / WORTH
    pairs = sorted(zip(rivals, trials, strict=True), key=lambda pair: (max(pair[1].ratio, least), pair[1].error))
    return [one for one, _ in pairs]


def _candidates(field: Field, wanted: Mapping[str, Mapping[Unit, Choice]]) -> tuple[list[Candidate], list[str]]:
    found: list[Candidate] = []
    refused: list[str] = []
    for label, choices in wanted.items():
        made = field.candidate(label, choices)
        if isinstance(made, Candidate):
            found.append(made)
        else:
            refused.append(f"{label}: {made}")
    return found, refused


def _tuned(units: Sequence[Measured], best: Candidate, trials: tuple[Trial, ...]) -> Tuned:
    found: dict[Unit, Choice | Miss] = {}
    for one in units:
        choice = best.choices.get(one.unit)
        found[one.unit] = choice if choice is not None else Miss(reason(one, best.choices), one.unit.sites[0].name)
    last = trials[-1]
    what = f"{told(best.choices, len(units))}; {last.ms:.3g} ms, {last.ratio:.2f} of float's, outputs off by {last.error:.2g}"
    return Tuned(found, trials, f"tuned by measuring: {what}", _able(units))


def _all_float(units: Sequence[Measured], trials: Sequence[Trial], refused: Sequence[str]) -> Tuned:
    tried = [f"{one.label} {one.ms:.3g} ms" for one in trials[1:]]
    why = f"float takes {trials[0].ms:.3g} ms; " + ("; ".join([*tried, *refused]) or "no unit has an option that is faster")
    found: dict[Unit, Choice | Miss] = {}
    for one in units:
        own = reason(one, {})
        text = own if not one.open else f"left float: the program would not be faster ({why})"
        found[one.unit] = Miss(text, one.unit.sites[0].name)
    return Tuned(found, tuple(trials), f"tuned by measuring: all float ({why})", _able(units))


def _able(units: Sequence[Measured]) -> frozenset[Unit]:
    return frozenset(one.unit for one in units if one.open)


def _machine(context: Context) -> str:
    target = context.target
    return f"{target.machine}, {context.threads or 'all'} threads" if isinstance(target, Machine) else ""
