"""Making a plan: which units become integers, by which scheme, on which grids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from netwright.ir.fingerprint import fingerprint
from netwright.passes.plan import Curve, Plan
from netwright.passes.quantize.carrying import Carrying
from netwright.passes.quantize.choice import ActivationGrid, BlockWise, Choice, Static
from netwright.passes.quantize.draft import Draft
from netwright.passes.quantize.mixed import allocated_bits, reverted
from netwright.passes.quantize.offering import offer
from netwright.passes.quantize.planning import already_quantized
from netwright.passes.quantize.ranges import ranges_for
from netwright.passes.quantize.reading import ACTIVATION, Steps, decisions_of
from netwright.passes.quantize.recipes import Pace, improved, split
from netwright.passes.quantize.rounding.remembered import Remembered
from netwright.passes.quantize.static import activations_of
from netwright.passes.quantize.tuning import TurnTimer, tuned
from netwright.passes.quantize.tuning.evidence import feeds_for
from netwright.passes.quantize.tuning.timer import ratio
from netwright.passes.rewrite import Miss

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context
    from netwright.passes.quantize.quantize import Quantize
    from netwright.passes.quantize.units import Unit


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
    offer(options, program, context, draft)
    ranges = ranges_for(options, program, context, draft)
    if options.tune is not None:
        _tune(program, context, draft)
    else:
        draft.choices = {unit: offered[0] for unit, offered in draft.options.items()}
    curves = _allocate(options.budget, program, context, draft) if options.budget is not None else ()
    draft.choices.update((unit, Static(axis="tensor")) for unit in draft.pairs)
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
        own = replace(ranges, context=fit, seen={}) if options.statistics is None else ranges
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


def _tune(program: Program, context: Context, draft: Draft) -> None:
    """What is fastest, as measured: with weights to the nearest, which takes no data and no less time to run."""
    trying = Carrying(context, rounder=Remembered())

    def carry(whole: Program, choices: Mapping[Unit, Choice], grids: Mapping[str, ActivationGrid]) -> Program:
        return trying.carried(whole, Plan(pass_name="quantize", fingerprint="", decisions=decisions_of(choices, grids)))

    found = tuned(program, draft.options, draft.grids, context, carry)
    draft.choices = found.chosen
    stored = [unit for unit, one in found.choices.items() if isinstance(one, Miss) and unit in found.able and unit.convolutions]
    draft.choices.update((unit, BlockWise(8, block_size=128, symmetric=True)) for unit in stored)
    draft.misses.extend(found.misses)
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
