"""Recipes: steps tried one after the other on a plan, each kept only where the error of outputs on held-out data falls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING

from netwright.passes.quantize.recipes.judge import Judge
from netwright.passes.quantize.recipes.steps import Grids, Material, Step, equalizing, ranges, rounding, smoothing, whole
from netwright.passes.rewrite import Miss
from netwright.passes.statistics import pieces

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context, Feeds
    from netwright.passes.plan import Plan

SLOWER = 1.02
"""Where pace is kept, a candidate may take this share of the time of the plan as it was: what two measurements of one program differ by."""

Pace = Callable[["Program", "Program"], float]
"""The time of the second program over that of the first."""

Carry = Callable[["Program", "Plan"], "Program"]
"""A clone of a program with a plan carried out."""

GAIN = 0.98
"""A candidate is kept where its error is this share of the best so far, or less: what is nearer is chance."""

ROWS, PIECES = 16, 8
"""Data that activations are looked at with."""

CORRECT = whole("correct_bias", "biases corrected")

COMPENSATE = whole("compensate", "convolutions fitted one after the other to what reaches them")

RECIPES: Mapping[str, Sequence[Step]] = MappingProxyType(
    {
        "fast": (smoothing((None,)), equalizing, ranges(("percentile",))),
        "balanced": (smoothing((None,)), equalizing, ranges(("percentile", "mse")), rounding(("gptq",)), COMPENSATE, CORRECT),
        "best": (
            smoothing((None, 0.5, 0.8)),
            equalizing,
            ranges(("minmax", "moving", "percentile", "entropy", "mse")),
            rounding(("gptq", "adaround")),
            COMPENSATE,
            CORRECT,
        ),
    }
)
"""Steps by recipe, in order: what changes the float program or its grids first, then roundings that make up for it, biases last. `fast`
fits no weights: about a second a candidate; `best` runs AdaRound."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate, and what it gave.

    Attributes:
        label: what was new.
        before: squared error of outputs, relative to what varies of them, of the best plan so far.
        after: with the candidate.
        kept: whether it became the best.
        pace: its time over that of the plan as it was, where it was taken.
    """

    label: str
    before: float
    after: float
    kept: bool
    pace: float | None = None

    def __str__(self) -> str:
        """Such as `weights rounded by gptq: 0.52% → 0.31%`."""
        slower = f", but {self.pace:.2f} of the time" if self.pace is not None and self.pace > SLOWER else ""
        return f"{self.label}: {self.before:.3%} → {self.after:.3%}{slower}"


def improved(
    program: Program,
    plan: Plan,
    carry: Carry,
    context: Context,
    recipe: str,
    held: Sequence[Feeds],
    grids: Grids | None = None,
    pace: Pace | None = None,
) -> Plan:
    """The plan with the steps of a recipe that lower the error on held-out data; a Miss for each that does not, a note for each that does.

    Args:
        program: float; left as it is.
        plan: of `quantize`, for it.
        carry: carries plans out, with no other data than the context's.
        context: data that may be fitted to (see `split`), and an executor.
        recipe: `fast`, `balanced` or `best`.
        held: inputs that judge, and that nothing is fitted to (see `split`).
        grids: the grids of the plan's activations by a method of calibration.
        pace: times programs, where no step may cost time (`tune='latency'`).
    """
    assert context.calibration is not None, "asked for only with data"
    assert context.executor is not None, "and with an executor"
    if not plan.decisions:
        return plan
    judge = Judge(program, held, context.executor)
    initial = carry(program, plan)
    inputs = {value.name for value in program.inputs}
    looked = pieces(program, context.calibration, rows=ROWS, most=PIECES, seed=context.seed)
    feeds = [{name: array for name, array in one.items() if name in inputs} for one in islice(looked, PIECES)]
    material = Material(program, context, feeds, grids)
    best, least = plan, judge.error(initial)
    paced = initial if pace is not None else None
    del initial
    first, trials = least, list[Trial]()
    for step in RECIPES[recipe]:
        start, base = best, least
        for candidate in step(start, material):
            made = carry(program, candidate.plan)
            error = judge.error(made)
            kept = error < GAIN * least
            taken = pace(paced, made) if kept and pace is not None and paced is not None else None
            kept = kept and (taken is None or taken <= SLOWER)
            trials.append(Trial(candidate.label, base, error, kept, taken))
            if kept:
                best, least = candidate.plan, error
    return _told(best, recipe, first, least, trials, program)


def _told(plan: Plan, recipe: str, first: float, last: float, trials: Sequence[Trial], program: Program) -> Plan:
    taken = "; ".join(str(trial) for trial in trials if trial.kept) or "no step lowered it"
    note = f"recipe '{recipe}': squared error of outputs on held-out data {first:.3%} → {last:.3%} of what varies ({taken})"
    place = program.graph.outputs[0].name or ""
    misses = [Miss(f"recipe '{recipe}' tried and left out: {trial}", place) for trial in trials if not trial.kept]
    return replace(plan, note="; ".join(filter(None, (plan.note, note))), misses=(*plan.misses, *misses))
