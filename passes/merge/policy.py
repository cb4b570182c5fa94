"""When factors are multiplied back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import onnx_ir

from netwright.ir.program import Program
from netwright.passes.context import Timer
from netwright.passes.planning import first_match
from netwright.passes.timing import Change, Times, times_of

When = Literal["smaller", "always", "faster"]

FASTER = 0.98
"""What the time of a product over that of its factors must be below: best-of timings of the same program differ by a percent or two."""


@dataclass(frozen=True, slots=True)
class Size:
    """What an operator, or several, hold and take: parameters, and multiply-accumulates in any unit that is the same for both sides."""

    parameters: int
    macs: float = 0.0


@dataclass(frozen=True, slots=True)
class Policy:
    """What the options of `merge` say.

    Attributes:
        when: factors are multiplied back.
        exclude: patterns of names of weights or modules.
        timer: measures, for `faster`.
    """

    when: When = "smaller"
    exclude: Sequence[str] = ()
    timer: Timer | None = None

    def excluded(self, names: Sequence[str]) -> str:
        """Why factors of these names stay, as a sentence; empty where nothing is said about them."""
        pattern = first_match(self.exclude, names)
        return "" if pattern is None else f"kept as factors: excluded by {pattern!r}"

    def refusal(self, factors: Size, product: Size, what: str, measure: Measure) -> str:
        """Why factors stay, as a sentence; empty where they are to be multiplied.

        Args:
            factors: of all of them.
            product: of what takes their place.
            what: the factors, as a phrase.
            measure: how to measure both, for `faster`.
        """
        if self.when == "always":
            return ""
        if self.when == "smaller":
            return not_smaller(factors, product, what)
        found = measure.times(self.timer)
        if isinstance(found, str):
            return f"kept as factors: {found}"
        return not_faster(found, what)


@dataclass(frozen=True, slots=True, eq=False)
class Measure:
    """A place in a program at which a change is tried out.

    Attributes:
        program: left as it is.
        given: what the place reads.
        results: what it gives.
        change: makes the change in a program that holds this place alone, at the node that gives the first result.
    """

    program: Program
    given: Sequence[onnx_ir.Value]
    results: Sequence[onnx_ir.Value]
    change: Change

    def times(self, timer: Timer | None) -> Times | str:
        """Milliseconds before and after the change; or why they cannot be had."""
        return times_of(self.program, self.given, self.results, self.change, timer)


def not_smaller(factors: Size, product: Size, what: str) -> str:
    """Why a product is no smaller, as a sentence; empty where it is."""
    if product.parameters > factors.parameters:
        return f"kept as factors: {what} are {factors.parameters:,} parameters, the product {product.parameters:,}"
    if product.macs > factors.macs * (1 + 1e-9):
        more = product.macs / factors.macs if factors.macs else float("inf")
        return (
            f"kept as factors: {what} are {factors.parameters:,} parameters, the product {product.parameters:,}, but it takes "
            f"{more:.3g}× the multiply-accumulates"
        )
    return ""


def not_faster(times: Times, what: str) -> str:
    """Why a product is no faster, as a sentence; empty where it is."""
    if times.after < times.before * FASTER:
        return ""
    return f"kept as factors: {what} take {times.before:.3g} ms, the product {times.after:.3g} ms"
