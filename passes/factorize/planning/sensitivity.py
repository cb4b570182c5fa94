"""How much of an error at one site arrives at the program's outputs: measured, one site at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netwright.ir.opinfo import is_float
from netwright.passes.factorize.carrying import carried
from netwright.passes.factorize.evidence import Study
from netwright.passes.factorize.planning.choices import Candidate
from netwright.passes.factorize.planning.decisions import Chosen
from netwright.passes.planning import relative_error
from netwright.passes.statistics import pieces

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context

SHARE = 0.5
"""Of a site's parameters: the size at which it is tried."""

ROWS, PIECES = 16, 4
"""Data that sites are tried on: so many rows, in so many runs."""

LEAST = 1e-6
"""Relative errors below are rounding."""


def sensitivities(program: Program, candidates: Sequence[Candidate], studied: Study, context: Context) -> dict[str, float]:
    """For each site, the relative error of the outputs over the relative error of the site's own output.

    Each site is factorized alone on a clone, and the clone run on a sample of the calibration data: one session and a few runs a site. The
    errors of several sites add up, nearly, while they are small, so that the sum of weighed errors stands for that of the outputs.

    Args:
        program: left as it is.
        candidates: sites of it.
        studied: their decompositions.
        context: calibration data and an executor.
    """
    assert context.calibration is not None, "asked for with data"
    assert context.executor is not None, "asked for with data"
    data = pieces(program, context.calibration, rows=ROWS, most=PIECES, seed=context.seed)
    inputs = {value.name for value in program.inputs}
    feeds = [{name: array for name, array in piece.items() if name in inputs} for piece in data]
    wanted = [value.name or "" for value in program.graph.outputs if is_float(value.dtype)]
    if not wanted:
        return {}
    goal = [context.executor.run(program, one, wanted) for one in feeds]
    found: dict[str, float] = {}
    for one in candidates:
        tried = one.at_most(int(SHARE * one.whole.parameters)) or one.smallest()
        if tried.error <= LEAST:
            continue
        clone = carried(program, [Chosen(one.site, tried.structure, tried.ranks, "", "weights")], studied)
        made = [context.executor.run(clone, one_feed, wanted) for one_feed in feeds]
        found[one.site.name] = relative_error(goal, made) / tried.error
    return found
