"""Which sites give how much, so that the error grows least for what is saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from netwright.passes.factorize.planning.choices import Candidate, Choice

Chosen = Mapping[str, Choice]
"""The way of each site that is factorized, by the site's name."""


@dataclass(frozen=True, slots=True, eq=False)
class Move:
    """One step of one site from a way to the next smaller one worth taking.

    Attributes:
        candidate: the site.
        before: what it is.
        choice: what it becomes.
        saved: cost that this saves.
        price: error that it adds for each unit saved.
    """

    candidate: Candidate
    before: Choice
    choice: Choice
    saved: float
    price: float

    def part(self, share: float) -> Choice:
        """As far as a share of the step saves, or as near to it as there is a way."""
        wanted = self.before.parameters - share * (self.before.parameters - self.choice.parameters)
        return self.candidate.at_most(int(wanted)) or self.choice


def moves(candidates: Sequence[Candidate], weights: Mapping[str, float], cost: Callable[[Choice], float]) -> list[Move]:
    """All steps of all sites, the cheapest first: the lower convex hulls of weighed error over cost, walked down together.

    Taking steps in this order minimises the sum of errors for what has been saved, up to the last step.

    Args:
        candidates: the sites.
        weights: what an error of 1 at a site counts.
        cost: what is to be saved.
    """
    found: list[Move] = []
    for candidate in candidates:
        hull = _hull(candidate.all(), cost)
        for before, after in pairwise(hull):
            saved = cost(before) - cost(after)
            price = weights[candidate.site.name] * (after.error - before.error) / saved
            found.append(Move(candidate, before, after, saved, price))
    return sorted(found, key=lambda move: move.price)


def after_saving(found: Sequence[Move], amount: float) -> dict[str, Choice]:
    """The ways after the fewest steps that save so much; of the last step only as much as it takes."""
    chosen: dict[str, Choice] = {}
    saved = 0.0
    for move in found:
        if saved >= amount:
            break
        left = amount - saved
        chosen[move.candidate.site.name] = move.choice if move.saved <= left else move.part(left / move.saved)
        saved += move.saved
    return chosen


def _hull(choices: Sequence[Choice], cost: Callable[[Choice], float]) -> list[Choice]:
    """Of ways, those on the lower convex hull of error over cost, the dearest (the site as it is) first; slopes rise along it."""
    kept: list[Choice] = []
    for choice in sorted(choices, key=lambda choice: (-cost(choice), choice.error)):
        if kept and cost(choice) >= cost(kept[-1]):
            continue
        while len(kept) > 1 and _slope(kept[-2], kept[-1], cost) >= _slope(kept[-2], choice, cost):
            kept.pop()
        kept.append(choice)
    return kept


def _slope(before: Choice, after: Choice, cost: Callable[[Choice], float]) -> float:
    return (after.error - before.error) / (cost(before) - cost(after))
