"""The least removal that a budget asks for: candidates are carried out on clones and measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from netwright.ir.errors import PlanError
from netwright.ir.program import Program
from netwright.passes.applying import apply_all
from netwright.passes.planning import Meter, least_that_fits, limits_of
from netwright.passes.prune.planning.amounts import Amounts
from netwright.passes.prune.planning.removal import Removal
from netwright.passes.prune.removal import remove
from netwright.passes.rewrite import Miss


@dataclass(frozen=True, slots=True)
class Fitted:
    """A removal within a budget.

    Attributes:
        removal: what goes.
        misses: groups of which nothing does.
        note: what the program measures with it, against the limits.
    """

    removal: Removal
    misses: tuple[Miss, ...]
    note: str


def fit_budget(
    program: Program,
    amounts: Amounts,
    budget: Mapping[str, float],
    meter: Meter,
    *,
    original: Program,
    global_ranking: bool = False,
    approximate: bool = False,
) -> Fitted:
    """Remove the least that keeps the program within a budget.

    One number is searched for, by bisection: the fraction that all groups lose, or with `global_ranking` the fraction of all units.
    Every candidate is a clone with the units taken out, counted (and timed) as it is: about ten removals.

    Args:
        program: left as it is.
        amounts: groups and scores.
        budget: limits by quantity; up to 1 fractions of the original's.
        meter: measures candidates.
        original: what fractions refer to.
        global_ranking: rank the units of all groups together.
        approximate: also remove what is not exactly the same as zero units.

    Raises:
        PlanError: the budget is out of reach, with what can be reached.
    """
    limits = limits_of(budget, original, meter)
    choose = amounts.by_rank if global_ranking else amounts.by_ratio

    def make(ratio: float) -> dict[str, tuple[int, ...]]:
        return choose(ratio)[0] if ratio > 0 else {}

    def load_of(removal: Removal) -> float:
        return meter.load(without(program, removal, approximate=approximate), limits)

    found = least_that_fits(make, load_of, high=amounts.max_ratio)
    removal, tried = found.candidate, found.tried
    if found.fits and found.short is not None:
        removal, more = _between(amounts, found.short, removal, load_of)
        tried += more
    reached = without(program, removal, approximate=approximate)
    told = meter.told(reached, limits)
    if not found.fits:
        raise PlanError(
            f"The budget is out of reach: with {amounts.max_ratio:g} of each group gone there are {told}.",
            place="prune",
            remedy="Raise the budget or max_ratio, or try approximate=True; `netwright inspect --by group` shows what is frozen, and why.",
        )
    whole = [one for one in amounts.candidates if one.group.name not in removal]
    misses = tuple(Miss(f"left whole: the budget is kept without its {one.group.size} units ({told})", one.group.name) for one in whole)
    return Fitted(removal, misses, f"{told}, after {tried} candidates" if removal else told)


def _between(amounts: Amounts, short: Removal, enough: Removal, load_of: Callable[[Removal], float]) -> tuple[Removal, int]:
    """Of two removals next to each other, of which only the second fits, the first with as few groups of the second as fit.

    Groups are taken over in order of the importance of what goes: rounding makes many groups of one size change at once.
    """
    more = {name: set(units) - set(short.get(name, ())) for name, units in enough.items()}
    names = sorted((name for name, units in more.items() if units), key=lambda name: amounts.mean_rank(name, more[name]))

    def make(share: float) -> dict[str, tuple[int, ...]]:
        return {**short, **{name: enough[name] for name in names[: round(share * len(names))]}}

    if len(names) < 2:
        return enough, 0
    found = least_that_fits(make, load_of, high=1.0, steps=math.ceil(math.log2(len(names))) + 1)
    return found.candidate, found.tried - 2


def without(program: Program, removal: Removal, *, approximate: bool = False) -> Program:
    """A clone of a program without some units."""
    clone = program.clone()
    if removal:
        apply_all(clone, remove(clone, removal, approximate=approximate))
    return clone
