"""The least factorization that a budget asks for: candidates are built as clones and measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from netwright.ir.errors import PlanError
from netwright.ir.program import Program
from netwright.passes.factorize.carrying import skeleton
from netwright.passes.factorize.evidence import Study
from netwright.passes.factorize.planning.allocate import after_saving, moves
from netwright.passes.factorize.planning.choices import Candidate, Choice
from netwright.passes.factorize.planning.decisions import Chosen
from netwright.passes.planning import Meter, least_that_fits, limits_of

Ways = dict[str, Choice]
"""By site."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """Ways within a budget.

    Attributes:
        ways: of the sites that are factorized.
        note: what the program measures with them, against the limits.
    """

    ways: Ways
    note: str


def by_ratio(candidates: Sequence[Candidate], ratio: float) -> Ways:
    """The best way of each site without a fraction of its parameters, or the smallest that there is; sites where none pays stay whole."""
    return {one.site.name: choice for one in candidates if one.pays(choice := one.without(ratio))}


def by_saving(candidates: Sequence[Candidate], weights: Mapping[str, float], cost: Callable[[Choice], float]) -> Callable[[float], Ways]:
    """A function from a fraction of all that the sites cost to the ways that save so much with the least error.

    Args:
        candidates: the sites.
        weights: what an error of 1 at a site counts.
        cost: what is saved.
    """
    steps = moves(candidates, weights, cost)
    whole = sum(cost(one.whole) for one in candidates)
    return lambda fraction: after_saving(steps, fraction * whole)


def fit_budget(
    program: Program,
    candidates: Sequence[Candidate],
    studied: Study,
    budget: Mapping[str, float],
    meter: Meter,
    choose: Callable[[float], Ways],
    *,
    original: Program,
) -> Fitted:
    """Factorize the least that keeps the program within a budget.

    Args:
        program: left as it is.
        candidates: its sites.
        studied: their decompositions.
        budget: limits by quantity; up to 1 fractions of the original's.
        meter: measures candidates.
        choose: ways by one number from 0 (nothing is done) to 1 (as much as can be).
        original: what fractions refer to.

    Raises:
        PlanError: the budget is out of reach, with what can be reached.
    """
    limits = limits_of(budget, original, meter)
    sites = {one.site.name: one.site for one in candidates}

    def build(ways: Ways) -> Program:
        chosen = [Chosen(sites[name], choice.structure, choice.ranks, "", "weights") for name, choice in ways.items()]
        return skeleton(program, chosen, studied) if chosen else program

    def make(scalar: float) -> Ways:
        return choose(scalar) if scalar > 0 else {}

    found = least_that_fits(make, lambda ways: meter.load(build(ways), limits), high=1.0)
    reached = build(found.candidate)
    told = meter.told(reached, limits)
    if not found.fits:
        raise PlanError(
            f"The budget is out of reach: with every site as small as it can be there are {told}.",
            place="factorize",
            remedy="Raise the budget, allow more sites, or prune as well; the report lists the sites that stay whole, and why.",
        )
    return Fitted(found.candidate, f"{told}, after {found.tried} candidates")
