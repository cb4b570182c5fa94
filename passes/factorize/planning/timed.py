"""`ranks='timed'`: sizes and number of factors chosen by what candidates learn in equal time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netwright.ir.errors import NetwrightError
from netwright.passes.factorize.carrying import carried
from netwright.passes.factorize.evidence import Study
from netwright.passes.factorize.methods import METHODS
from netwright.passes.factorize.planning.budget import Ways, by_ratio
from netwright.passes.factorize.planning.choices import Candidate, candidates
from netwright.passes.factorize.planning.decisions import Chosen
from netwright.passes.rewrite import Miss

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context
    from netwright.passes.factorize.factorize import Factorize

KEPT = (0.75, 0.5, 0.25, 0.1)
"""Shares of each site's parameters that candidates keep."""

FACTORS = (2, 3)
"""How many matrices a product becomes."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What one candidate did.

    Attributes:
        text: what it is.
        ways: of its sites.
        able: its sites.
        loss: after as many steps as fit; infinite where it failed.
        steps: so many.
        failure: what happened to one that failed.
    """

    text: str
    ways: Ways
    able: Sequence[Candidate]
    loss: float
    steps: int
    failure: str = ""

    def told(self, seconds: float) -> str:
        """For the note."""
        if self.failure:
            return f"{self.text}: failed ({self.failure})"
        return f"{self.text}: loss {self.loss:.4g} after {self.steps} steps of {1e3 * seconds / max(1, self.steps):.3g} ms"


def learn_most(
    options: Factorize, program: Program, able: Sequence[Candidate], studied: Study, context: Context, method: str
) -> tuple[Ways, Sequence[Miss], str]:
    """Train candidates of different sizes, and the program as it is, for the same time, and take the one whose loss is least.

    The time is `options.trial_seconds` each, as many steps as fit by the measured time of a step; the loss is that of batches held out,
    where there are enough. Candidates are factorized from the weights as `options.init` says. Where the dense program learns most,
    nothing is factorized.

    Args:
        options: the pass.
        program: left as it is.
        able: sites, with two factors.
        studied: their decompositions.
        context: training data, a trainer, a loss.
        method: how errors count.
    """
    trials = [_trial("as it is", program, {}, able, options, context)]
    for factors in FACTORS:
        own = list(able) if factors == 2 else _three(program, able, studied, options, context, method)
        for share in KEPT if own else ():
            ways = by_ratio(own, 1 - share)
            if not ways:
                continue
            chosen = [(one.site, ways[one.site.name]) for one in own if one.site.name in ways]
            clone = carried(program, [Chosen(site, way.structure, way.ranks, method, options.init) for site, way in chosen], studied)
            trials.append(_trial(f"{factors} factors with {share:.0%}", clone, ways, own, options, context))
    best = min(trials, key=lambda trial: trial.loss)
    told = ", ".join(trial.told(options.trial_seconds) for trial in trials)
    note = f"{best.text} learns most in {options.trial_seconds:g} s ({told})"
    whole = [
        Miss("left whole: the candidate that learns most leaves it so", one.site.name) for one in able if one.site.name not in best.ways
    ]
    return best.ways, whole, note


def _three(
    program: Program, able: Sequence[Candidate], studied: Study, options: Factorize, context: Context, method: str
) -> list[Candidate]:
    """The same sites with three factors; none where the method is not one of matrices."""
    if "low_rank" not in METHODS[method].structures:
        return []
    found = candidates(program, [one.site for one in able], studied, ("low_rank3",), context.dims, options.round_to)
    return [one for one in found if isinstance(one, Candidate)]


def _trial(text: str, program: Program, ways: Ways, able: Sequence[Candidate], options: Factorize, context: Context) -> Trial:
    assert context.trainer is not None, "checked before"
    assert context.training is not None, "checked before"
    loss = context.loss if context.loss is not None else "cross_entropy"
    try:
        found, steps = context.trainer.trial(program, context.training, loss=loss, seconds=options.trial_seconds)
    except NetwrightError as error:
        if not ways:
            raise  # the program as it is does not train either
        return Trial(text, ways, able, math.inf, 0, str(error))
    return Trial(text, ways, able, found, steps)
