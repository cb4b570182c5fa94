"""Scores of all groups by one criterion, and their scale when groups compete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from netwright.ir.coupling.group import Group
from netwright.ir.errors import UnsupportedModelError
from netwright.ir.ledger import Miss
from netwright.passes.prune.importance.criteria import Judge, criterion_of, l2
from netwright.passes.prune.importance.evidence import Evidence

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context

Per = Literal["unit", "params", "macs"]


@dataclass(frozen=True, slots=True, eq=False)
class Importance:
    """What a criterion says.

    Attributes:
        scores: by group name, float64 [size]; higher means keep, exactly 0 for units whose producing slices are all zero.
        misses: groups that the criterion does not apply to, which `l2` scored instead, with the reason.
        comparable: whether scores of different groups are in one unit as they are.
    """

    scores: dict[str, np.ndarray]
    misses: tuple[Miss, ...]
    comparable: bool


def importance(program: Program, context: Context, groups: Sequence[Group], criterion: str | Judge) -> Importance:
    """Score the units of groups.

    Args:
        program: left as it is.
        context: has what the criterion needs (`criterion_needs`).
        groups: of this program.
        criterion: a name of `CRITERIA`, or a function of a group and the evidence that gives scores [size], or a sentence that says why
            it has none.

    Raises:
        PipelineError: there is no criterion of that name.
        ContractError: data, gradients or a loss are missing.
        UnsupportedModelError: a criterion gave scores of another shape, or such as are not finite.
    """
    chosen = criterion_of(criterion)
    evidence = Evidence(program, context, groups)
    found: dict[str, np.ndarray] = {}
    misses: list[Miss] = []
    for group in groups:
        judged = chosen.judge(group, evidence)
        if isinstance(judged, str):
            misses.append(Miss(f"scored by l2: {judged}", group.name))
            judged = l2(group, evidence)
        found[group.name] = np.where(evidence.alive(group), _checked(judged, group, criterion), 0.0)
    return Importance(found, tuple(misses), chosen.comparable and not misses)


def scores(program: Program, context: Context, groups: Sequence[Group], criterion: str | Judge) -> dict[str, np.ndarray]:
    """The scores alone; see `importance`."""
    return importance(program, context, groups, criterion).scores


def normalised(
    found: Mapping[str, np.ndarray], groups: Sequence[Group], *, per: Per = "unit", relative: bool = True
) -> dict[str, np.ndarray]:
    """Scores on one scale, for ranking the units of all groups together.

    Args:
        found: by group name.
        groups: of those names.
        per: `params` and `macs` divide each score by what its unit costs, so that the units that give least for their cost are lowest.
        relative: divide by the group's mean first. Leave out where scores are comparable as they are.

    Returns:
        By group name. A score of 0 stays 0; units that cost nothing score infinity, for removing them gains nothing.
    """
    result: dict[str, np.ndarray] = {}
    for group in groups:
        own = found[group.name].astype(np.float64)
        mean = float(own.mean()) if own.size else 0.0
        scaled = own / mean if relative and mean > 0 else own
        if per != "unit":
            cost = np.asarray(group.params if per == "params" else group.macs, np.float64)
            scaled = np.divide(scaled, cost, out=np.where(scaled > 0, np.inf, 0.0), where=cost > 0)
        result[group.name] = scaled
    return result


def _checked(judged: np.ndarray, group: Group, criterion: str | Judge) -> np.ndarray:
    made = np.asarray(judged, np.float64)
    if made.shape == (group.size,) and np.isfinite(made).all():
        return made
    name = criterion if isinstance(criterion, str) else getattr(criterion, "__name__", "the function")
    what = f"scores of shape {list(made.shape)}" if made.shape != (group.size,) else "scores that are not finite"
    raise UnsupportedModelError(
        f"{name} gave {what} for {group.size} units.",
        place=group.name,
        remedy="Give one finite number for each unit, or a sentence that says why there is none.",
    )
