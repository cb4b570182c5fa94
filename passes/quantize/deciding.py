"""Making a plan: which units become integers, by which scheme, on which grids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from netwright.ir.errors import ContractError, DataError, RunError
from netwright.ir.fingerprint import fingerprint
from netwright.passes.applying import apply_all
from netwright.passes.plan import Curve, Plan
from netwright.passes.quantize.calibration import DEFAULT_METHOD, Method, Statistics, calibrate
from netwright.passes.quantize.carrying import Carrying
from netwright.passes.quantize.choice import ActivationGrid, BlockWise, Choice, Dynamic, Static
from netwright.passes.quantize.equalizing import Equalize
from netwright.passes.quantize.mixed import allocated_bits, reverted
from netwright.passes.quantize.planning import (
    already_quantized,
    block_choice,
    dynamic_choice,
    excluded,
    find_outliers,
    not_finite,
    probe_feeds,
    slow_gru,
    spectral,
    survey,
    too_small,
    too_steep,
    weight_bits,
)
from netwright.passes.quantize.reading import ACTIVATION, Steps, decisions_of
from netwright.passes.quantize.recipes import Pace, improved, split
from netwright.passes.quantize.recurrent.trial import LstmTrial, lstm_trials
from netwright.passes.quantize.rounding.remembered import Remembered
from netwright.passes.quantize.static import activations_of
from netwright.passes.quantize.static.strides import stride_of
from netwright.passes.quantize.thresholds import LSTM_ERROR
from netwright.passes.quantize.tuning import TurnTimer, tuned
from netwright.passes.quantize.tuning.evidence import feeds_for
from netwright.passes.quantize.tuning.timer import ratio
from netwright.passes.rewrite import Miss

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context
    from netwright.passes.quantize.quantize import Quantize
    from netwright.passes.quantize.units import Unit


@dataclass(slots=True)
class Draft:
    """A plan in the making.

    Attributes:
        options: by unit, what it may become, the usual first; those that are not named stay float.
        misses: of all others.
        notes: what the report says of the plan as a whole.
        grids: of activations.
        choices: the choice that was made for each unit.
    """

    options: dict[Unit, tuple[Choice, ...]] = field(default_factory=dict["Unit", tuple[Choice, ...]])
    misses: list[Miss] = field(default_factory=list[Miss])
    notes: list[str] = field(default_factory=list[str])
    grids: dict[str, ActivationGrid] = field(default_factory=dict[str, ActivationGrid])
    choices: dict[Unit, Choice] = field(default_factory=dict["Unit", Choice])

    def miss(self, unit: Unit, reason: str) -> None:
        """Leave a unit float."""
        self.misses.extend(Miss(reason, site.name) for site in unit.sites)


def make_plan(options: Quantize, program: Program, context: Context) -> Plan:
    """Decide by unit.

    Raises:
        ContractError: static quantization without data.
        DataError: the data does not fit the program.
    """
    print_of = fingerprint(program)
    before = already_quantized(program)
    if before is not None:
        return Plan(pass_name=options.name, fingerprint=print_of, decisions={}, misses=(before,), note=before.reason)
    draft = Draft()
    _offer(options, program, context, draft)
    ranges = _calibrate(options, program, context, draft)
    if options.tune is not None:
        _tune(program, context, draft)
    else:
        draft.choices = {unit: offered[0] for unit, offered in draft.options.items()}
    curves = _allocate(options.budget, program, context, draft) if options.budget is not None else ()
    grids = _used(program, draft) if options.metric_drop is None else draft.grids
    decisions = decisions_of(draft.choices, grids, Steps(correct_bias=options.correct_bias))
    plan = Plan(
        pass_name=options.name,
        fingerprint=print_of,
        decisions=decisions,
        misses=tuple(draft.misses),
        note="; ".join(filter(None, draft.notes)),
        curves=curves,
    )
    if options.recipe is not None:
        fit, held = split(program, context)
        own = replace(ranges, context=fit, _seen={}) if options.statistics is None else ranges
        plan = improved(
            program,
            plan,
            Carrying(fit).carried,
            fit,
            options.recipe,
            held,
            own.grids if plan_has_grids(plan) else None,
            pace_of(program, context) if options.tune is not None else None,
        )
    if options.metric_drop is not None:
        plan = reverted(program, plan, Carrying(context).carried, context, options.metric_drop)
    return plan


def pace_of(program: Program, context: Context) -> Pace:
    """Times two programs in turns, on inputs of the size for which latency counts."""
    timer, feeds = context.timer, feeds_for(program, context)[:1]
    assert isinstance(timer, TurnTimer), "tuned with it"

    def pace(first: Program, second: Program) -> float:
        base, own = timer.turns([first, second], feeds * 2, rounds=40, seconds=2.0)
        return ratio(own, base)

    return pace


def plan_has_grids(plan: Plan) -> bool:
    """True where activations have grids."""
    return any(key.startswith(ACTIVATION) for key in plan.decisions)


def has_data(options: Quantize, context: Context) -> bool:
    """True where grids of activations can be had."""
    return options.statistics is not None or (context.calibration is not None and context.executor is not None)


def _offer(options: Quantize, program: Program, context: Context, draft: Draft) -> None:
    """What each unit may become."""
    data = has_data(options, context)
    if options.scheme == "static" and not data:
        raise ContractError(
            "Static quantization needs calibration data, or statistics of it.",
            place="quantize(scheme='static')",
            remedy="Give calibration=… (on the command line, --calibration), or statistics='stats.npz' from `netwright calibrate`.",
        )
    convolutions = options.scheme in ("static", "weights") or (options.scheme == "auto" and data)
    smaller = options.tune is not None or "bytes" in (options.budget or {})
    found = survey(program, convolutions=convolutions, grus=options.scheme != "weights")
    draft.misses.extend(found.misses)
    units: list[Unit] = []
    for unit in found.units:
        reason = excluded(unit, options.exclude) or _too_small(options, unit) or not_finite(unit)
        reason = reason or (None if smaller else slow_gru(unit)) or (None if options.tune is not None else spectral(unit))
        if reason is None:
            units.append(unit)
        else:
            draft.miss(unit, reason)
    if options.scheme == "weights":
        for unit in units:
            choice = block_choice(
                unit, options.bits, options.block_size or (32 if options.bits == 4 else 128), options.symmetric, options.rounding
            )
            if isinstance(choice, str):
                draft.miss(unit, choice)
            else:
                draft.options[unit] = (choice,)
        return
    _offer_integers(options, program, context, draft, units)
    if options.scheme == "auto":
        draft.notes.append(_auto_note(units, data=data))


def _too_small(options: Quantize, unit: Unit) -> str | None:
    """The reason, where integers would gain nothing; where timings decide, of tables alone, which are not there for speed."""
    return None if options.tune is not None and not unit.tables else too_small(unit)


def _auto_note(units: Sequence[Unit], *, data: bool) -> str:
    if not data:
        return "scheme 'auto' chose dynamic: no calibration data was given"
    kinds = {site.kind for unit in units for site in unit.sites}
    return "scheme 'auto' chose static for convolutions and dynamic for the rest" if "conv" in kinds else "scheme 'auto' chose dynamic"


def _offer_integers(options: Quantize, program: Program, context: Context, draft: Draft, units: Sequence[Unit]) -> None:
    data = has_data(options, context)
    bits = min(weight_bits(context), options.bits)
    moving = [unit for unit in units if unit.sites[0].kind != "conv"]
    outliers, trials = _look(options, program, context, draft, moving, bits)
    static = Static(options.bits, "column" if options.per_channel else "tensor", options.rounding)
    for unit in units:
        site = unit.sites[0]
        if site.kind == "conv":
            folds = len(unit.sites) == 1 and not options.trainable and not isinstance(stride_of(site), str)
            draft.options[unit] = (replace(static, fold_stride=True), static) if folds else (static,)
            continue
        trial = trials.get(unit)
        reason = _poor(trial) if trial is not None else too_steep(unit)
        if reason is not None:
            draft.miss(unit, reason)
            continue
        own = trial.outliers if trial is not None else outliers.get(unit, ())
        dynamic = dynamic_choice(
            unit, bits, options, own, trial.chunks if trial is not None else 1, trial.states if trial is not None else "column"
        )
        if site.kind == "lstm" and options.tune is not None and dynamic.axis == "column":
            draft.options[unit] = (dynamic, replace(dynamic, states="tensor"), replace(dynamic, axis="tensor", states="tensor"))
        elif site.kind != "linear" or unit.tables:
            draft.options[unit] = (dynamic,)
        elif options.scheme == "static":
            draft.options[unit] = (static,)
        elif options.tune is not None and options.scheme == "auto":
            blocks = block_choice(unit, 8, options.block_size or 128, options.symmetric, options.rounding)
            rest = () if isinstance(blocks, str) else (blocks,)
            draft.options[unit] = (dynamic, *((static,) if data else ()), *rest)
        else:
            draft.options[unit] = (dynamic,)


def _poor(trial: LstmTrial) -> str | None:
    if trial.error <= LSTM_ERROR:
        return None
    return f"left float: as int8 its outputs are off by {trial.error:.2f} of their norm, more than {LSTM_ERROR}"


def _look(
    options: Quantize, program: Program, context: Context, draft: Draft, units: Sequence[Unit], bits: int
) -> tuple[Mapping[Unit, tuple[tuple[int, int], ...]], Mapping[Unit, LstmTrial]]:
    """Outlier channels of products and trials of LSTMs, where the program can be run; a note where it cannot."""
    dynamic = [unit for unit in units if options.scheme != "static" or unit.sites[0].kind != "linear"]
    try:
        feeds = probe_feeds(program, context)
        if context.executor is None or not feeds:
            return {}, {}
        return (
            find_outliers(program, context.executor, feeds, dynamic),
            lstm_trials(program, context.executor, feeds[:2], dynamic, Dynamic(bits)),
        )
    except (DataError, RunError) as error:
        if context.calibration is not None:
            raise
        draft.notes.append(f"outlier channels were not looked for, since the model runs on no made-up inputs: {error.message}")
        return {}, {}


@dataclass(slots=True)
class Ranges:
    """Grids of activations, from statistics that are taken once.

    Attributes:
        options: of the pass.
        program: as it is.
        context: data and an executor.
        names: of the activations.
    """

    options: Quantize
    program: Program
    context: Context
    names: tuple[str, ...]
    _seen: dict[bool, Statistics] = field(default_factory=dict[bool, Statistics])

    def statistics(self, *, equalized: bool = False) -> Statistics:
        """What the activations range over, of the program as it is or with neighbouring layers equalized."""
        if equalized not in self._seen:
            self._seen[equalized] = self._observe(equalized)
        return self._seen[equalized]

    def _observe(self, equalized: bool) -> Statistics:
        if equalized:
            clone = self.program.clone()
            apply_all(clone, Equalize().rewrites(clone, self.context))
            return calibrate(clone, self.names, self.context)
        if self.options.statistics is not None:
            return Statistics.load(self.options.statistics, self.program)
        return calibrate(self.program, self.names, self.context)

    def grids(self, method: str | None = None, equalized: bool = False) -> dict[str, ActivationGrid]:
        """Grids of the activations that can have one, by a method, or the usual one."""
        seen, signed = self.statistics(equalized=equalized), self.options.activations == "s8"
        chosen = cast("Method", method or self.options.ranges or DEFAULT_METHOD)
        return {name: seen.grid(name, method=chosen, signed=signed, symmetric=signed) for name in self.names if seen.obstacle(name) is None}


def _calibrate(options: Quantize, program: Program, context: Context, draft: Draft) -> Ranges:
    """Grids of all activations that static units would need; where not all may become static, also of those at the borders of fewer."""
    static = [unit for unit, offered in draft.options.items() if any(isinstance(choice, Static) for choice in offered)]
    names = activations_of(program, static)
    fewer = options.tune is not None or options.metric_drop is not None
    borders = [name for unit in static if fewer for name in activations_of(program, [unit])]
    found = Ranges(options, program, context, tuple(dict.fromkeys((*names, *borders))))
    if found.names:
        seen = found.statistics()
        found.names = tuple(name for name in found.names if name in names or name in seen.tensors)
        reasons = {name: seen.obstacle(name) for name in names}
        draft.misses.extend(Miss(reason, name) for name, reason in reasons.items() if reason is not None)
        draft.grids = found.grids()
    return found


def _tune(program: Program, context: Context, draft: Draft) -> None:
    """What is fastest, as measured: with weights to the nearest, which takes no data and no less time to run."""
    trying = Carrying(context, rounder=Remembered())

    def carry(whole: Program, choices: Mapping[Unit, Choice], grids: Mapping[str, ActivationGrid]) -> Program:
        return trying.carried(whole, Plan(pass_name="quantize", fingerprint="", decisions=decisions_of(choices, grids)))

    found = tuned(program, draft.options, draft.grids, context, carry)
    draft.choices = found.chosen
    stored = [unit for unit, one in found.choices.items() if isinstance(one, Miss) and unit in found.able and unit.convolutions]
    draft.choices.update((unit, BlockWise(8, block_size=128, symmetric=True)) for unit in stored)
    names = {site.name for unit in stored for site in unit.sites}
    draft.misses.extend(miss for miss in found.misses if miss.site not in names)
    draft.notes.append(found.note)
    if stored:
        draft.notes.append(
            f"{len(stored)} of the float convolutions are stored as bytes, which runtimes make floats of when they load them"
        )


def _allocate(budget: Mapping[str, float], program: Program, context: Context, draft: Draft) -> tuple[Curve, ...]:
    """Bits for each unit, shared out."""
    found = allocated_bits(program, draft.choices, budget, context)
    draft.choices = {unit: replace(choice, bits=found.bits[unit]) for unit, choice in draft.choices.items()}
    draft.notes.append(found.note)
    return (found.curve,)


def _used(program: Program, draft: Draft) -> dict[str, ActivationGrid]:
    """The grids that the chosen units need, and no others."""
    static = [unit for unit, choice in draft.choices.items() if isinstance(choice, Static)]
    return {name: draft.grids[name] for name in activations_of(program, static) if name in draft.grids}
