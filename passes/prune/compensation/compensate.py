"""Compensation, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from netwright.ir.coupling import coupling
from netwright.ir.editor import Editor
from netwright.passes.base import Proposals
from netwright.passes.prune.compensation.find import find_sites
from netwright.passes.prune.compensation.fitting import fit, observe
from netwright.passes.prune.compensation.prefix import Prefix
from netwright.passes.prune.compensation.site import Site
from netwright.passes.prune.compensation.solve import Solution
from netwright.passes.prune.compensation.stages import spans, stages
from netwright.passes.rewrite import Miss, Rewrite
from netwright.passes.statistics import Repeated

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context
    from netwright.passes.plan import Plan

LEAST_GAIN = 0.999
"""A layer is changed only where its error on held-out rows falls to this share or lower."""


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


def solve_anew(before: Program, program: Program, sites: Sequence[Site], context: Context) -> Proposals:
    """Solve sites stage by stage: a rewrite for each that gains on held-out rows, a Miss with the numbers for each that does not.

    Args:
        before: the program as it was.
        program: as it is now; each stage sees what the ones before made of it.
        sites: layers of it.
        context: has calibration data and an executor.

    Raises:
        DataError: the data holds no batch, or differs from one pass to the next.
    """
    assert context.calibration is not None, "compensation is asked for only with data"
    assert context.executor is not None, "and with an executor"
    data = Repeated(before, context.calibration)
    prefix = Prefix(data, context.executor)
    for span in spans(stages(before, program, sites)):
        targets = observe(before, [site for stage in span for site in stage.sites], data, context.executor, context.seed)
        for stage in span:
            own, targets = targets[: len(stage.sites)], targets[len(stage.sites) :]
            for site, solutions in zip(stage.sites, list(fit(program, stage, own, prefix)), strict=True):
                yield _proposal(site, solutions)


def removed_units(plan: Plan) -> dict[str, list[int]]:
    """The units that a plan removes, by group."""
    return {
        name: [int(unit) for unit in cast("list[int]", units)]
        for name, decision in plan.decisions.items()
        if isinstance(units := decision.get("remove"), list) and units
    }


def _proposal(site: Site, solutions: Sequence[Solution]) -> Rewrite | Miss:
    before, after = (
        float(np.sqrt(np.mean(np.square(errors)))) for errors in zip(*((one.before, one.after) for one in solutions), strict=True)
    )
    if not np.isfinite(before):
        return Miss("left as pruning made it: what it sees or makes of the calibration data is not finite", site.name)
    numbers = f"error on held-out rows {before:.3f} → {after:.3f} of what varies"
    if after > before * LEAST_GAIN:
        return Miss(f"left as pruning made it: solved anew it would gain nothing ({numbers})", site.name)
    deltas, shifts = [one.delta for one in solutions], [one.shift for one in solutions]

    def change(editor: Editor) -> None:
        site.apply(editor, deltas, shifts)

    return Rewrite.edit(site.name, f"weights solved anew: {numbers}", change, anchor=site.node)
