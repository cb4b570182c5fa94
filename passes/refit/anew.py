"""Solving layers anew, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from netwright.ir.editor import Editor
from netwright.passes.base import Proposals
from netwright.passes.refit.fitting import fit, observe
from netwright.passes.refit.prefix import Prefix
from netwright.passes.refit.site import Site
from netwright.passes.refit.solve import Solution
from netwright.passes.refit.stages import spans, stages
from netwright.passes.rewrite import Miss, Rewrite
from netwright.passes.statistics import Repeated

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context

LEAST_GAIN = 0.999
"""A layer is changed only where its error on held-out rows falls to this share or lower."""


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


def _proposal(site: Site, solutions: Sequence[Solution]) -> Rewrite | Miss:
    before, after = (
        float(np.sqrt(np.mean(np.square(errors)))) for errors in zip(*((one.before, one.after) for one in solutions), strict=True)
    )
    if not np.isfinite(before):
        return Miss("left as it was: what it sees or makes of the calibration data is not finite", site.name)
    numbers = f"error on held-out rows {before:.3f} → {after:.3f} of what varies"
    if after > before * LEAST_GAIN:
        return Miss(f"left as it was: solved anew it would gain nothing ({numbers})", site.name)
    deltas, shifts = [one.delta for one in solutions], [one.shift for one in solutions]

    def change(editor: Editor) -> None:
        site.apply(editor, deltas, shifts)

    return Rewrite.edit(site.name, f"weights solved anew: {numbers}", change, anchor=site.node)
