"""The least compression that is enough: bisection of one scalar, each candidate made and measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

STEPS = 12
"""Candidates between the two ends: the scalar is known to 1 / 4096 of its range."""
CLOSE = 0.005
"""A candidate that leaves no more than this share of the budget unused is close enough."""


@dataclass(frozen=True, slots=True)
class Search(Generic[T]):
    """What a search came to.

    Attributes:
        scalar: of the candidate.
        candidate: the least compressed one that fits; where none does, the most compressed one.
        load: the largest of measured over allowed; at most 1 where it fits.
        tried: how many candidates were measured.
        short: the most compressed candidate of those measured that do not fit; None where none was too little.
    """

    scalar: float
    candidate: T
    load: float
    tried: int
    short: T | None = None

    @property
    def fits(self) -> bool:
        """True where the candidate is within the budget."""
        return self.load <= 1.0


def least_that_fits(
    make: Callable[[float], T], load_of: Callable[[T], float], *, high: float, steps: int = STEPS, close: float = CLOSE
) -> Search[T]:
    """Find the smallest scalar in [0, high] whose candidate fits, by bisection: loads must fall as the scalar rises, or nearly so.

    Args:
        make: makes the candidate of a scalar; equal candidates are measured once.
        load_of: measures one: the largest of measured over allowed.
        high: the most that may be done.
        steps: candidates between the ends.
        close: stop at a load of 1 - close and up.
    """
    seen: list[tuple[T, float]] = []

    def at(scalar: float) -> Search[T]:
        candidate = make(scalar)
        known = next((load for other, load in seen if other == candidate), None)
        if known is None:
            known = load_of(candidate)
            seen.append((candidate, known))
        return Search(scalar, candidate, known, len(seen))

    nothing = at(0.0)
    if nothing.fits:
        return nothing
    best, short = at(high), nothing
    for _ in range(steps):
        if not best.fits or best.load >= 1.0 - close:
            break
        tried = at((short.scalar + best.scalar) / 2)
        if tried.fits:
            best = tried
        else:
            short = tried
    return Search(best.scalar, best.candidate, best.load, len(seen), short.candidate)
