"""Sites put back until the metric holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from netwright.ir.errors import ContractError
from netwright.ir.opinfo import is_float
from netwright.passes.plan import Decision, Plan
from netwright.passes.planning import relative_error
from netwright.passes.quantize.choice import BlockWise, Choice
from netwright.passes.quantize.mixed.errors import trial_feeds
from netwright.passes.quantize.mixed.rounded import with_bits
from netwright.passes.quantize.reading import decisions_of, read
from netwright.passes.rewrite import Miss

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context
    from netwright.passes.quantize.units import Unit

Carry = Callable[["Program", Plan], "Program"]
"""A clone with a plan carried out."""

FULL_BITS = 8


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """One unit put back: to eight bits, or to float where `choice` is None."""

    unit: Unit
    choice: Choice | None


def reverted(
    program: Program,
    plan: Plan,
    carry: Carry,
    context: Context,
    drop: float,
) -> Plan:
    """The plan with as few units put back as keep the metric within `drop` of the original's.

    Units go back in the order of what each one's integers alone cost at the outputs: first those of fewer than 8 bits to 8, then, the
    dearest first, units to float. How many is found by bisection, so that the metric is measured some log2(units) times, beside twice for
    the programs as they are. What follows from what goes back (grids of activations that nothing needs) stays in the plan and does nothing.

    Args:
        program: left as it is.
        plan: made for it.
        carry: carries a plan out on a clone.
        context: the metric, an executor, data or samples, and the original that the drop is measured from.
        drop: of the metric, at most.

    Returns:
        A plan with a Miss for each site that stays float, and a note with the numbers.

    Raises:
        ContractError: no metric.
    """
    metric = context.metric
    if metric is None:
        raise ContractError("A limit on the metric's drop needs a metric.", place="quantize(metric_drop=…)", remedy="Give metric=.")
    choices = read(plan, program).choices
    before = metric(context.original if context.original is not None else program)
    limit = before - drop
    known: dict[int, float] = {0: metric(carry(program, plan))}
    if known[0] >= limit or not choices:
        return _noted(plan, f"metric {known[0]:.4g} of {before:.4g}, within the drop of {drop:g}")
    alone = _alone(program, plan, choices, carry, context)
    steps = _steps(choices, alone)

    def made(count: int) -> Plan:
        return _after(plan, choices, steps[:count])

    def score(count: int) -> float:
        if count not in known:
            known[count] = metric(carry(program, made(count)))
        return known[count]

    low, high = 0, len(steps)
    if score(high) < limit:
        found = made(high)
        lost = f"metric {known[0]:.4g} of {before:.4g}: more than the drop of {drop:g} allows, and so it is with nothing quantized"
        return _noted(_missed(found, steps, known[0], before, drop, alone), f"{lost} ({score(high):.4g}), which passes before have lost")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if score(middle) >= limit else (middle, high)
    found = _missed(made(high), steps[:high], known[0], before, drop, alone)
    back = {step.unit for step in steps[:high] if step.choice is None}
    raised = {step.unit for step in steps[:high] if step.choice is not None} - back
    parts = [f"{len(back)} of {len(choices)} units float"] + ([f"{len(raised)} with {FULL_BITS} bits"] if raised else [])
    note = f"metric {known[0]:.4g} of {before:.4g} was over the drop of {drop:g}: with {' and '.join(parts)} it is {score(high):.4g}"
    return _noted(found, f"{note} ({len(known)} programs scored)")


def _steps(choices: Mapping[Unit, Choice], alone: Mapping[Unit, float]) -> list[_Step]:
    order = sorted(choices, key=lambda unit: -alone.get(unit, 0.0))
    more = [_Step(unit, with_bits(choices[unit], FULL_BITS)) for unit in order if _fewer(choices[unit])]
    return [*more, *(_Step(unit, None) for unit in order)]


def _fewer(choice: Choice) -> bool:
    """Whether more bits can help: below 7, which stands for 8 where products of bytes saturate."""
    return choice.bits < FULL_BITS - 1 or (isinstance(choice, BlockWise) and choice.bits < FULL_BITS)


def _alone(
    program: Program,
    plan: Plan,
    choices: Mapping[Unit, Choice],
    carry: Carry,
    context: Context,
) -> dict[Unit, float]:
    """The squared relative error at the outputs with one unit quantized at a time; a session each.

    Where there is nothing to run the program on, all zeros: then units go back in graph order.
    """
    executor = context.executor
    feeds = trial_feeds(program, context)
    wanted = [value.name or "" for value in program.graph.outputs if is_float(value.dtype)]
    if executor is None or not feeds or not wanted:
        return dict.fromkeys(choices, 0.0)
    goal = [executor.run(program, one, wanted) for one in feeds]
    found: dict[Unit, float] = {}
    for unit, choice in choices.items():
        clone = carry(program, replace(plan, decisions={**_others(plan, choices), **decisions_of({unit: choice})}))
        found[unit] = relative_error(goal, [executor.run(clone, one, wanted) for one in feeds])
    return found


def _others(plan: Plan, choices: Mapping[Unit, Choice]) -> dict[str, Decision]:
    """The plan's decisions on what is no unit: grids of activations, steps for the whole program."""
    sites = {site.name for unit in choices for site in unit.sites}
    return {name: decision for name, decision in plan.decisions.items() if name not in sites}


def _after(
    plan: Plan,
    choices: Mapping[Unit, Choice],
    steps: Sequence[_Step],
) -> Plan:
    left: dict[Unit, Choice] = dict(choices)
    for step in steps:
        if step.choice is None:
            del left[step.unit]
        else:
            left[step.unit] = step.choice
    return replace(plan, decisions={**_others(plan, choices), **decisions_of(left)} if left else {})


def _missed(plan: Plan, steps: Sequence[_Step], scored: float, before: float, drop: float, alone: Mapping[Unit, float]) -> Plan:
    found = list(plan.misses)
    for step in steps:
        if step.choice is not None:
            continue
        reason = (
            f"left float: with all sites quantized the metric is {scored:.4g}, {before - scored:.3g} under the original's, and {drop:g} is "
            f"allowed; alone, this one puts the outputs off by {alone.get(step.unit, 0.0) ** 0.5:.2%}"
        )
        found.extend(Miss(reason, site.name) for site in step.unit.sites)
    return replace(plan, misses=tuple(found))


def _noted(plan: Plan, note: str) -> Plan:
    return replace(plan, note="; ".join(filter(None, (plan.note, note))))
