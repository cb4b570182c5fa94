"""`prune` of whole units: from options to a plan, and from a plan to rewrites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from netwright.ir.coupling import Group, coupling
from netwright.ir.fingerprint import fingerprint
from netwright.passes.base import Proposals
from netwright.passes.plan import Plan
from netwright.passes.planning import Meter, budget_of, unmatched_patterns
from netwright.passes.prune.compensation import compensate
from netwright.passes.prune.importance import Importance, criterion_needs, importance, normalised
from netwright.passes.prune.options import printed, resolve
from netwright.passes.prune.planning import Amounts, Removal, Survey, decide, fit_budget, read_decisions, summary, survey
from netwright.passes.prune.removal import remove
from netwright.passes.rewrite import Miss

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context
    from netwright.passes.prune.prune import Prune

DEFAULT_IMPORTANCE = "l2"
ROUND_TO = 8


def needs_structured(options: Prune) -> frozenset[str]:
    """What a plan of whole units takes."""
    needed = set(criterion_needs(resolve(options.importance or DEFAULT_IMPORTANCE)))
    if options.budget is not None and "latency_ms" in options.budget:
        needed.add("timer")
    if options.ratio is None and options.threshold is None and options.budget is None and options.plan is None:
        needed.add("budget")
    return frozenset(needed)


def plan_structured(options: Prune, program: Program, context: Context) -> Plan:
    """Score the units of all groups that may lose some, and choose."""
    found = program.fact(coupling)
    round_to = options.round_to if options.round_to is not None else 1 if options.threshold is not None else ROUND_TO
    surveyed = survey(
        program, found.groups, scope=options.scope, round_to=round_to, exclude=options.exclude, approximate=options.approximate
    )
    criterion = options.importance or DEFAULT_IMPORTANCE
    groups = [one.group for one in surveyed.candidates]
    judged = importance(program, context, groups, resolve(criterion)) if groups else Importance({}, (), comparable=True)
    amounts = Amounts(surveyed.candidates, judged.scores, _ranks(options, context, judged, groups), options.max_ratio)
    removal, misses, told = _choose(options, program, context, amounts)
    strangers = _strangers(options, surveyed)
    note = f"{summary(groups, removal)}, by {printed(criterion)}" if groups else "there is no group of which units could go"
    return Plan(
        pass_name=options.name,
        fingerprint=fingerprint(program),
        decisions=decide(found, removal),
        misses=(*surveyed.misses, *judged.misses, *misses, *strangers),
        note="; ".join(filter(None, (note, told))),
    )


def _choose(options: Prune, program: Program, context: Context, amounts: Amounts) -> tuple[Removal, Sequence[Miss], str]:
    """What goes, what stays whole, and a note."""
    if options.threshold is not None:
        return *amounts.by_threshold(options.threshold), ""
    if isinstance(options.ratio, Mapping):
        return *amounts.by_ratio(options.ratio), ""
    if options.ratio is not None:
        return *(amounts.by_rank if options.global_ranking else amounts.by_ratio)(options.ratio), ""
    fitted = fit_budget(
        program,
        amounts,
        budget_of(options.budget, context, place=options.name),
        Meter(context),
        original=context.original or program,
        global_ranking=options.global_ranking,
        approximate=options.approximate,
    )
    return fitted.removal, fitted.misses, fitted.note


def _ranks(options: Prune, context: Context, judged: Importance, groups: Sequence[Group]) -> Mapping[str, np.ndarray]:
    """Scores that compare across groups: in one unit by what a unit costs, else as multiples of their group's mean."""
    if not options.global_ranking:
        return {}
    if not judged.comparable:
        return normalised(judged.scores, groups)
    budget = options.budget or context.budget or {}
    by_work = options.ratio is None and ("macs" in budget or "latency_ms" in budget)
    return normalised(judged.scores, groups, per="macs" if by_work else "params", relative=False)


def _strangers(options: Prune, surveyed: Survey) -> list[Miss]:
    """A miss for each pattern that names no group that could lose units: a typing error, most often."""
    patterns = [
        (option, pattern)
        for option, setting in (("ratio", options.ratio), ("threshold", options.threshold))
        if isinstance(setting, Mapping)
        for pattern in setting
    ]
    names = [one.names for one in surveyed.candidates]
    unmatched = unmatched_patterns([pattern for _, pattern in patterns], names)
    return [
        Miss(
            f"{option} names no group that could lose units with '{pattern}'; `netwright inspect --by group` lists groups and modules",
            pattern,
        )
        for option, pattern in patterns
        if pattern in unmatched
    ]


def carry_out_structured(program: Program, plan: Plan, *, approximate: bool) -> Proposals:
    """The rewrites of a plan; a miss where removal would not be exact, unless it may be `approximate`."""
    removal = read_decisions(plan, program.fact(coupling))
    if removal:
        yield from remove(program, removal, approximate=approximate)


def settle_structured(before: Program, program: Program, plan: Plan, context: Context) -> Proposals:
    """What reads the units that stayed is fitted."""
    if plan.decisions:
        yield from compensate(before, program, plan, context)
