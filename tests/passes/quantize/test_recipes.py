"""Recipes: steps are kept where held-out error falls, told where it does not, and never make a plan worse."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.passes import Context, Plan
from netwright.passes.applying import apply_all
from netwright.passes.quantize import Quantize
from netwright.passes.quantize.carrying import Carrying
from netwright.passes.quantize.equalizing import SMOOTH, smooth_rewrites, smoothings_of
from netwright.passes.quantize.recipes import Judge, improved, split
from tests.passes.quantize.helpers import normal
from tests.passes.quantize.test_smooth import branched


def material(program: Program, batches: int = 10) -> tuple[Context, list[dict[str, np.ndarray]], Plan]:
    data = [{"x": normal(4, 24, 96, seed=seed)} for seed in range(batches)]
    fit, held = split(program, Context(calibration=data, executor=OrtExecutor()))
    plan = Quantize(scheme="dynamic").make_plan(program, replace(fit, calibration=None, executor=None))
    return fit, held, plan


def carried(fit: Context, program: Program, plan: Plan) -> Program:
    """The smoothings of a plan, then its integers."""
    clone = program.clone()
    apply_all(clone, smooth_rewrites(clone, smoothings_of(plan.decisions)))
    rest = {key: decision for key, decision in plan.decisions.items() if not key.startswith(SMOOTH)}
    return Carrying(fit).carried(clone, replace(plan, decisions=rest))


def test_judging_data_is_never_fitted_to() -> None:
    for batches in (10, 3, 1):
        fit, held, _ = material(branched(read_elsewhere=True), batches)
        assert fit.calibration is not None
        fitted = {row.tobytes() for batch in fit.calibration for row in batch["x"]}
        judging = {row.tobytes() for batch in held for row in batch["x"]}
        assert fitted
        assert judging
        assert not fitted & judging


def test_balanced_lowers_the_error_and_says_by_what() -> None:
    program = branched(read_elsewhere=True)
    fit, held, plan = material(program)
    carry = partial(carried, fit)
    made = improved(program, plan, carry, fit, "balanced", held)
    assert {key for key in made.decisions if key.startswith(SMOOTH)} == {"smooth:s"}
    fresh = Judge(program, [{"x": normal(4, 24, 96, seed=seed)} for seed in range(50, 54)], OrtExecutor())
    assert fresh.error(carry(program, made)) < 0.5 * fresh.error(carry(program, plan))
    assert "activations smoothed (each in its best form)" in made.note
    assert "outliers" in made.decisions["q1"]
    assert made.decisions["q1"]["outliers"] == made.decisions["k1"]["outliers"]


def test_a_step_that_raises_the_error_is_left_out_and_told() -> None:
    program = branched(read_elsewhere=True)
    fit, held, plan = material(program)

    def carry(before: Program, tried: Plan) -> Program:
        """Every change of the plan spoils the program."""
        bad = tried.decisions != plan.decisions
        return Carrying(fit).carried(
            before, replace(plan, decisions={k: {**d, "bits": 2} for k, d in plan.decisions.items()}) if bad else plan
        )

    made = improved(program, plan, carry, fit, "balanced", held)
    assert made == plan
    assert "no step lowered it" in made.note
    reasons = [miss.reason for miss in made.misses]
    assert any(reason.startswith("recipe 'balanced' tried and left out: weights rounded by gptq: ") for reason in reasons)
    assert all("→" in reason for reason in reasons if reason.startswith("recipe"))


def test_steps_that_cost_time_are_left_out_where_pace_is_kept() -> None:
    program = branched(read_elsewhere=True)
    fit, held, plan = material(program)
    timed: list[float] = []

    def pace(first: Program, second: Program) -> float:
        timed.append(len(list(second.nodes("Mul"))) / max(1, len(list(first.nodes("Mul")))))
        return timed[-1]

    made = improved(program, plan, partial(carried, fit), fit, "balanced", held, pace=pace)
    assert max(timed) > 1  # smoothing's Mul
    assert not [key for key in made.decisions if key.startswith(SMOOTH)]
    assert any("activations smoothed" in miss.reason and "but" in miss.reason and "of the time" in miss.reason for miss in made.misses)
    assert [key for key in improved(program, plan, partial(carried, fit), fit, "balanced", held).decisions if key.startswith(SMOOTH)]
