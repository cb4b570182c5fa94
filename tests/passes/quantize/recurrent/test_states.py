"""LSTMs whose recurrent weights have one scale, and that start from zeros."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.ir.errors import PlanError
from netwright.passes import Context
from netwright.passes.quantize.choice import Dynamic, read_choice
from netwright.passes.quantize.recurrent import lstm_trials
from netwright.passes.quantize.recurrent.states import is_zero, with_one_scale
from netwright.passes.quantize.recurrent.trial import WHOLE
from netwright.passes.quantize.sites import Site, find_sites
from netwright.passes.quantize.units import Unit, units_of
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, evaluate, normal, quantized

STEPS, BATCH, INPUTS = 10, 2, 32


def lstm(hidden: int, spread: float = 1.0, states: str = "") -> Program:
    """A layer whose recurrent weights' rows differ by a factor of up to `spread`."""
    rows: np.ndarray = np.geomspace(1, spread, 4 * hidden, dtype=np.float32)[None, :, None]
    weights: dict[str, np.ndarray] = {
        "w": normal(1, 4 * hidden, INPUTS, seed=1) / 6,
        "r": normal(1, 4 * hidden, hidden, seed=2) / hidden**0.5 * rows,
        "b": normal(1, 8 * hidden, seed=3) / 4,
    }
    text = f"""{HEAD} g (float[T, N, {INPUTS}] x, WEIGHTS) => (float[T, 1, N, {hidden}] y)
    {{ {states}  y = LSTM <hidden_size: int = {hidden}> (x, w, r, b{", , h, h" if states else ""}) }}"""
    return program_of(text, weights)


def units(program: Program) -> list[Unit]:
    """Its layers."""
    return units_of(site for site in find_sites(program) if isinstance(site, Site))


def trial_of(program: Program) -> tuple[str, float]:
    """Along which scales vary, and the error."""
    feeds = [{"x": normal(STEPS, BATCH, INPUTS, seed=7)}]
    (trial,) = lstm_trials(program, OrtExecutor(), feeds, units(program), Dynamic(8)).values()
    return trial.states, trial.error


def test_wide_layers_of_even_rows_get_one_scale_and_others_do_not() -> None:
    states, error = trial_of(lstm(256))
    assert states == "tensor"
    assert error <= WHOLE
    assert trial_of(lstm(128))[0] == "column"
    assert trial_of(lstm(256, spread=400.0))[0] == "column"


def test_the_choice_is_carried_out_and_its_error_is_that_of_the_trial() -> None:
    program, x = lstm(256), {"x": normal(STEPS, BATCH, INPUTS, seed=7)}
    outcome = quantized(program, Context(executor=OrtExecutor(), calibration=[x]), scheme="dynamic")
    scale, stored = outcome.program.value("r.scale").const_value, outcome.program.value("r.int8").const_value
    assert scale is not None
    assert stored is not None
    assert tuple(scale.shape) == (1,)
    made, goal = evaluate(outcome.program, x)[0], evaluate(program, x)[0]
    assert np.isclose(np.linalg.norm(made - goal) / np.linalg.norm(goal), trial_of(program)[1], rtol=1e-3)
    weight = program.value("r").const_value
    assert weight is not None
    assert np.array_equal(outcome.program.ledger.actions[0].maps["r.int8"].map.apply(weight.numpy()), stored.numpy())


def test_few_large_rows_do_not_cost_all_others_their_steps() -> None:
    weight = normal(200, 64, seed=1)
    weight[:4] *= 4
    values, scale = with_one_scale(weight, 8)
    peak = float(np.abs(weight).max()) / 127
    assert scale < 0.9 * peak
    plain = np.rint(weight / peak) * peak
    errors = [float((np.square(one - weight).sum(1) / np.square(weight).sum(1)).mean()) for one in (values * scale, plain)]
    assert errors[0] < 0.8 * errors[1]
    assert np.array_equal(with_one_scale(np.zeros((3, 3), np.float32), 8)[0], np.zeros((3, 3), np.int8))


@pytest.mark.parametrize(
    ("made", "zero"),
    [
        ("s = Shape <start: int = 1, end: int = 2> (x)  one = Constant <value_ints = [1]> ()  w1 = Constant <value_ints = [80]> ()"
         "  dims = Concat <axis: int = 0> (one, s, w1)  h = ConstantOfShape (dims)", True),
        ("dims = Constant <value_ints = [1, 2, 80]> ()  z = Constant <value_floats = [0.0]> ()  h = Expand (z, dims)", True),
        ("dims = Constant <value_ints = [1, 2, 80]> ()  z = Constant <value_floats = [0.5]> ()  h = Expand (z, dims)", False),
    ],
)  # fmt: skip
def test_states_known_to_be_zero_are_left_out(made: str, zero: bool) -> None:
    program, x = lstm(80, states=made), {"x": normal(STEPS, BATCH, INPUTS, seed=7)}
    outcome = quantized(program, scheme="dynamic")
    (node,) = outcome.program.nodes("DynamicQuantizeLSTM")
    assert [value is None for value in node.inputs[5:7]] == [zero, zero]
    expected, found = evaluate(program, x)[0], evaluate(outcome.program, x)[0]
    assert np.linalg.norm(found - expected) < 0.03 * np.linalg.norm(expected)


def test_what_is_fed_is_not_zero() -> None:
    assert not is_zero(lstm(80).inputs[0])


def test_plans_say_so() -> None:
    choice = Dynamic(8, states="tensor")
    assert read_choice("y", choice.decision()) == choice
    assert "states" not in Dynamic().decision()
    with pytest.raises(PlanError, match="'states' is"):
        read_choice("y", {"scheme": "dynamic", "states": "row"})
