"""GRUs through the pass: by size, for bytes, and by measuring."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.ir.storage import saved_bytes
from netwright.passes import Context
from netwright.passes.quantize.choice import Dynamic
from netwright.passes.quantize.planning import survey
from netwright.passes.quantize.tuning.places import same_units
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, evaluate, normal, ops, quantized, reasons
from tests.passes.quantize.tuning.helpers import KnownTimer, tune

STEPS, INPUTS = 12, 64


def gru(hidden: int, before: int = 1) -> Program:
    """One layer of a batch of one."""
    weights = {
        "w": normal(1, 3 * hidden, INPUTS, seed=1) / 8,
        "r": normal(1, 3 * hidden, hidden, seed=2) / hidden**0.5,
        "b": normal(1, 6 * hidden, seed=3) / 4,
    }
    text = f"""{HEAD} g (float[{STEPS}, 1, {INPUTS}] x, WEIGHTS) => (float[{STEPS}, 1, 1, {hidden}] y)
    {{ y = GRU <hidden_size: int = {hidden}, linear_before_reset: int = {before}> (x, w, r, b) }}"""
    return program_of(text, weights)


def context() -> Context:
    """With data and an executor."""
    return Context(executor=OrtExecutor(), calibration=[{"x": normal(STEPS, 1, INPUTS, seed=5)}])


def error(program: Program, made: Program) -> float:
    """Of the output, relative, on data that was not calibrated on."""
    x = {"x": normal(STEPS, 1, INPUTS, seed=9)}
    goal, found = evaluate(program, x)[0], evaluate(made, x)[0]
    return float(np.linalg.norm(found - goal) / np.linalg.norm(goal))


def test_a_wide_gru_becomes_integers_and_a_narrow_one_does_not() -> None:
    wide, narrow = gru(512), gru(80)
    outcome = quantized(wide, context(), scheme="dynamic")
    assert "Scan" in ops(outcome.program)
    assert error(wide, outcome.program) < 0.03
    assert saved_bytes(outcome.program.model) < 0.27 * saved_bytes(wide.model)
    assert "slower as a Scan" in reasons(quantized(narrow, context(), scheme="dynamic"))["y"]


def test_a_budget_of_bytes_takes_narrow_ones_too() -> None:
    program = gru(80)
    outcome = quantized(program, context(), scheme="dynamic", budget={"bytes": 0.5})
    assert "Scan" in ops(outcome.program)
    assert saved_bytes(outcome.program.model) < 0.5 * saved_bytes(program.model)
    assert error(program, outcome.program) < 0.03


@pytest.mark.parametrize("before", [0, 1])
def test_rounding_by_data_errs_no_more(before: int) -> None:
    program = gru(96, before)
    errors = [
        error(program, quantized(program, context(), scheme="dynamic", bits=4, rounding=rounding, budget={"bytes": 0.5}).program)
        for rounding in ("nearest", "gptq")
    ]
    assert errors[1] < 1.05 * errors[0]


@pytest.mark.parametrize(("milliseconds", "faster"), [(1.0, True), (9.0, False)])
def test_tuning_times_grus_alone(milliseconds: float, faster: bool) -> None:
    program = gru(96)
    (unit,) = survey(program, grus=True).units
    timer = KnownTimer({"GRU": 4.0, "Scan": milliseconds})
    found = tune(program, {unit: (Dynamic(),)}, timer, {"x": normal(STEPS, 1, INPUTS, seed=5)})
    assert found.chosen == ({unit: Dynamic()} if faster else {})
    assert faster or "the program would not be faster" in found.misses[0].reason
    assert any("Scan" in ops(one) for one in timer.timed), "alone, and as a whole"


def test_grus_are_found_again_in_the_program_of_one_alone() -> None:
    program = gru(96)
    (unit,) = survey(program, grus=True).units
    assert list(same_units(program.clone(), [unit])) == [unit]
