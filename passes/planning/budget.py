"""What a program must stay within, in parameters, multiply-accumulates, bytes and milliseconds, and measuring it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from netwright.ir.cost import cost, default_bindings
from netwright.ir.errors import ContractError, PipelineError, UnsupportedModelError
from netwright.ir.program import Program
from netwright.ir.storage import saved_bytes
from netwright.passes.context import Context

QUANTITIES = ("params", "macs", "bytes", "latency_ms")
"""What a compressing pass can be held to."""


def check_budget(budget: Mapping[str, object], *, place: str) -> None:
    """Refuse unknown quantities, and limits that are not positive numbers.

    Raises:
        PipelineError: with the quantities that there are.
    """
    for quantity, limit in budget.items():
        if quantity not in QUANTITIES:
            raise PipelineError(f"The budget has no quantity {quantity}.", place=place, remedy=f"Quantities: {', '.join(QUANTITIES)}.")
        if not isinstance(limit, int | float) or isinstance(limit, bool) or not 0 < limit < float("inf"):
            raise PipelineError(
                f"The budget's {quantity} is {limit!r}, which is no positive number.",
                place=place,
                remedy=f"Write budget={{{quantity!r}: 0.5}} for half of the original's, or a number above 1 for so many.",
            )
    if not budget:
        raise PipelineError("The budget is empty.", place=place, remedy="Write budget={'macs': 0.5}.")


@dataclass(frozen=True, slots=True)
class Meter:
    """Measures programs.

    Attributes:
        context: has the sizes of symbolic dimensions, and the timer.
    """

    context: Context

    def measure(self, program: Program, quantity: str) -> float:
        """One quantity of a program: counted, and of `latency_ms` timed.

        Raises:
            ContractError: no timer.
            UnsupportedModelError: its multiply-accumulates depend on data.
        """
        if quantity == "bytes":
            return float(saved_bytes(program.model))
        if quantity == "latency_ms":
            if self.context.timer is None:
                raise ContractError(
                    "A budget of latency_ms needs a timer.",
                    place="budget",
                    remedy="Use `netwright compile` or nw.compile, which run models.",
                )
            return self.context.timer.time(program)
        totals = program.fact(cost).totals({**default_bindings(program), **self.context.dims})
        found = totals.params if quantity == "params" else totals.macs
        if found is None:
            raise UnsupportedModelError(
                "The program's multiply-accumulates depend on data, and cannot be counted.",
                place="budget",
                remedy="Give its dimensions sizes (dims=, on the command line --shape), or use a budget of params or latency_ms.",
            )
        return float(found)

    def told(self, program: Program, limits: Mapping[str, float]) -> str:
        """What a program measures against limits, for people."""
        return ", ".join(f"{one} {_shown(self.measure(program, one))} of at most {_shown(limit)}" for one, limit in limits.items())

    def load(self, program: Program, limits: Mapping[str, float]) -> float:
        """The largest of measured over allowed: at most 1 where the program is within all limits. Counts before it times."""
        found = 0.0
        for quantity in sorted(limits, key=QUANTITIES.index):
            found = max(found, self.measure(program, quantity) / limits[quantity])
            if found > 1.0 and quantity != "latency_ms" and "latency_ms" in limits:
                return found  # over already: no need to time it
        return found


def budget_of(own: Mapping[str, float] | None, context: Context, *, place: str) -> Mapping[str, float]:
    """A pass's own budget, or the run's without what compression is not measured by.

    Args:
        own: of the pass, where given.
        context: has the run's.
        place: the pass.

    Raises:
        PipelineError: that leaves nothing.
    """
    if own is not None:
        return own
    budget = {quantity: limit for quantity, limit in (context.budget or {}).items() if quantity in QUANTITIES}
    if not budget:
        raise PipelineError(
            "The budget does not say how much is to go.",
            place=place,
            remedy=f"Name one of {', '.join(QUANTITIES)} in it, or write {place}(ratio=0.5).",
        )
    return budget


def limits_of(budget: Mapping[str, float], original: Program, meter: Meter) -> dict[str, float]:
    """A budget in absolute numbers: limits up to 1 are fractions of the original's.

    Args:
        budget: by quantity.
        original: what fractions refer to.
        meter: measures it.
    """
    return {quantity: limit if limit > 1 else limit * meter.measure(original, quantity) for quantity, limit in budget.items()}


def _shown(number: float) -> str:
    return f"{number:,.0f}" if number >= 1000 else f"{number:.4g}"
