"""Compensation, stage by stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from netwright.ir.coupling import coupling
from netwright.passes.base import Proposals
from netwright.passes.prune.compensation.find import find_sites
from netwright.passes.refit import Site, solve_anew
from netwright.passes.rewrite import Miss

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context
    from netwright.passes.plan import Plan


def compensate(before: Program, program: Program, plan: Plan, context: Context) -> Proposals:
    """Solve the weights of every layer that lost inputs anew, so that its outputs are again what they were.

    For each such layer, in topological order: least squares on calibration inputs as they come through the pruned and already
    compensated program, against the output that the program before gives, W' = W + C_rx (C_xx + λI)⁻¹ with r = y_before − y and
    streamed covariances in float64; the bias takes E[r] − ΔW E[x]. (He et al., Channel pruning, arXiv 1707.06168, solve the same squares;
    the ridge here draws to the weights that removal left.) Where the output is added to a residual, y is the sum, so that a layer also
    makes up for what the residual lost. No labels are needed. A layer is changed only where its error on held-out batches falls.

    Convolutions are fitted on patches, up to 4,096 features; wider ones, transposed ones and recurrent layers by channels.

    Args:
        before: the program as it was.
        program: with the units of the plan removed; values have the names that they had.
        plan: `remove` by group name.
        context: has calibration data and an executor.

    Returns:
        A rewrite for each layer that gains; a Miss with the numbers, or the reason, for each that does not.
    """
    removed = removed_units(plan)
    if context.calibration is None or context.executor is None or not removed:
        return
    sites: list[Site] = []
    for found in find_sites(before, program, before.fact(coupling).groups, removed):
        if isinstance(found, Miss):
            yield found
        else:
            sites.append(found)
    yield from solve_anew(before, program, sites, context)


def removed_units(plan: Plan) -> dict[str, list[int]]:
    """The units that a plan removes, by group."""
    return {
        name: [int(unit) for unit in cast("list[int]", units)]
        for name, decision in plan.decisions.items()
        if isinstance(units := decision.get("remove"), list) and units
    }
