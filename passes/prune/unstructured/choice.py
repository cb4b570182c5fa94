"""One weight's decision, as typed data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from netwright.ir.errors import PipelineError, PlanError
from netwright.passes.plan import Decision, DecisionValue
from netwright.passes.prune.pattern import read_pattern

Criterion = Literal["magnitude", "activation"]
_KEYS = ("sparsity", "pattern", "criterion", "norms")
SPARSE_KEYS = frozenset(_KEYS)
"""What a decision on single weights may hold, and one on whole units does not."""


@dataclass(frozen=True, slots=True)
class Sparse:
    """How many elements of a weight become zero, and which.

    Attributes:
        sparsity: the fraction of its elements.
        pattern: such as `2:4`; empty for any.
        criterion: `magnitude`, the smallest |w|; `activation`, the smallest |w| · ‖x‖ (Sun et al., arXiv 2306.11695).
        norms: ‖x‖ of each input of the layer, in the order of its channels, groups first; none with `magnitude`.
    """

    sparsity: float
    pattern: str = ""
    criterion: Criterion = "magnitude"
    norms: tuple[float, ...] = ()

    def decision(self) -> Decision:
        """The decision as it stands in a plan."""
        found: dict[str, DecisionValue] = {"sparsity": self.sparsity, "pattern": self.pattern or None, "criterion": self.criterion}
        if self.norms:
            found["norms"] = list(self.norms)
        return found


def read_sparse(weight: str, decision: Decision) -> Sparse:
    """Check a plan's decision.

    Raises:
        PlanError: an unknown key, or a value out of range.
    """
    unknown = [key for key in decision if key not in _KEYS]
    if unknown or "sparsity" not in decision:
        wrong = f"unknown keys: {', '.join(unknown)}" if unknown else "no 'sparsity'"
        raise PlanError(f"The plan's decision for %{weight} has {wrong}.", place=weight, remedy=f"Its keys: {', '.join(_KEYS)}.")
    sparsity, pattern, criterion = decision["sparsity"], decision.get("pattern"), decision.get("criterion", "magnitude")
    if not isinstance(sparsity, int | float) or isinstance(sparsity, bool) or not 0 <= sparsity < 1:
        raise PlanError(f"The sparsity of %{weight} is {sparsity!r}.", place=weight, remedy="Write a number from 0 to below 1.")
    if criterion not in ("magnitude", "activation"):
        raise PlanError(f"The criterion for %{weight} is {criterion!r}.", place=weight, remedy="Criteria: 'magnitude', 'activation'.")
    if pattern is not None:
        try:
            kept, among = read_pattern(str(pattern))
        except PipelineError as error:
            raise PlanError(error.message, place=weight, remedy=error.remedy) from error
        if sparsity != 1 - kept / among:
            raise PlanError(f"%{weight} has pattern {pattern} and sparsity {sparsity}, which differ.", place=weight)
    return Sparse(float(sparsity), str(pattern or ""), criterion, _norms(weight, decision, criterion == "activation"))


def _norms(weight: str, decision: Mapping[str, object], wanted: bool) -> tuple[float, ...]:
    listed = decision.get("norms", [])
    given = cast("list[object]", listed) if isinstance(listed, list) else None
    if given is None or bool(given) != wanted:
        raise PlanError(
            f"The plan for %{weight} must list 'norms' with criterion 'activation', and only then.",
            place=weight,
            remedy="Make the plan again with calibration data, or write criterion 'magnitude'.",
        )
    numbers = [number for number in given if isinstance(number, int | float) and 0 <= number < float("inf")]
    if len(numbers) < len(given):
        raise PlanError(f"The norms of %{weight} are not all numbers from 0.", place=weight)
    return tuple(map(float, numbers))
