"""Outlier channels: shrunk in the activation, enlarged in the weights, exactly in float and to the good in integers."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.ir.errors import NetwrightError
from netwright.passes import Context
from netwright.passes.quantize.outliers import Spread, outliers_for
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, evaluate, linear, normal, ops, quantized


def peaked(*shape: int, seed: int = 0) -> np.ndarray:
    x = normal(*shape, seed=seed)
    x[..., 5] *= 40
    return x


def spread_of(x: np.ndarray) -> Spread:
    return Spread(np.minimum(x.min(axis=0), 0)[None], np.maximum(x.max(axis=0), 0)[None], (x.astype(np.float64) ** 2).mean(axis=0))


def context(*batches: np.ndarray) -> Context:
    return Context(executor=OrtExecutor(), calibration=[{"x": batch} for batch in batches])


def error(program: Program, other: Program, x: np.ndarray) -> float:
    before, after = evaluate(program, {"x": x})[0], evaluate(other, {"x": x})[0]
    return float(np.linalg.norm(after - before) / np.linalg.norm(before))


def test_an_outlier_channel_is_found_and_shrunk_by_a_power_of_two() -> None:
    outcome = quantized(linear(), context(peaked(2, 8, 64, seed=1)), scheme="dynamic")
    ((channel, factor),) = outcome.plans[0].decisions["t"]["outliers"]  # type: ignore[misc]
    assert channel == 5
    assert factor in (8, 16, 32)
    assert ops(outcome.program)[:2] == ["Mul", "DynamicQuantizeLinear"]


def test_shrinking_outliers_lowers_the_error() -> None:
    program, x = linear(), peaked(2, 8, 64, seed=2)
    plain = error(program, quantized(program, scheme="dynamic").program, x)
    shrunk = error(program, quantized(program, context(peaked(2, 8, 64, seed=1)), scheme="dynamic").program, x)
    assert shrunk < 0.6 * plain


def test_made_up_samples_serve_where_no_data_is_given() -> None:
    given = Context(executor=OrtExecutor(), samples=lambda program: [{"x": peaked(1, 8, 64)}])
    assert "outliers" in quantized(linear(), given, scheme="dynamic").plans[0].decisions["t"]


def test_made_up_samples_that_do_not_run_are_no_obstacle_but_said() -> None:
    given = Context(executor=OrtExecutor(), samples=lambda program: [{"x": normal(1, 8, 63)}])
    outcome = quantized(linear(), given, scheme="dynamic")
    assert outcome.rows[0].actions == 1
    assert "outlier channels were not looked for" in outcome.rows[0].note


def test_calibration_data_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(NetwrightError, match="x"):
        quantized(linear(), context(normal(1, 8, 63)), scheme="dynamic")


def test_without_feeds_nothing_is_shrunk() -> None:
    assert "outliers" not in quantized(linear(), Context(executor=OrtExecutor()), scheme="dynamic").plans[0].decisions["t"]


def test_activations_without_outliers_are_left_as_they_are() -> None:
    outcome = quantized(linear(), context(normal(2, 8, 64)), scheme="dynamic")
    assert "outliers" not in outcome.plans[0].decisions["t"]
    assert ops(outcome.program)[0] == "DynamicQuantizeLinear"


def test_products_of_one_activation_shrink_the_same_channels() -> None:
    text = f"""{HEAD} qkv (float[N, T, 64] x, WEIGHTS) => (float[N, T, 64] q, float[N, T, 64] k)
    {{ q = MatMul (x, wq)  k = MatMul (x, wk) }}"""
    program = program_of(text, {"wq": normal(64, 64, seed=1), "wk": 0.1 * normal(64, 64, seed=2)})
    outcome = quantized(program, context(peaked(1, 8, 64)), scheme="dynamic")
    decisions = outcome.plans[0].decisions
    assert decisions["q"]["outliers"] == decisions["k"]["outliers"]
    assert ops(outcome.program).count("DynamicQuantizeLinear") == 1


def test_the_recorded_map_includes_the_factors() -> None:
    program = linear()
    outcome = quantized(program, context(peaked(2, 8, 64)), scheme="dynamic")
    stored, weight = outcome.program.value("w.int8").const_value, program.value("w").const_value
    assert stored is not None
    assert weight is not None
    assert np.array_equal(outcome.program.ledger.actions[0].maps["w.int8"].map.apply(weight.numpy()), stored.numpy())


def test_the_choice_minimises_the_measured_error() -> None:
    x, weight = peaked(400, 64, seed=3), normal(64, 96, seed=4)
    (found,) = outliers_for(spread_of(x), [weight])

    def squared_error(factor: float) -> float:
        factors = np.ones(64, np.float32)
        factors[5] = factor
        a, w = x / factors, weight * factors[:, None]
        step, steps = (a.max() - a.min()) / 255, np.abs(w).max(axis=0) / 127
        return float(((np.rint(a / step) * step) @ (np.rint(w / steps) * steps) - x @ weight).__pow__(2).sum())

    best = min((2.0**power for power in range(8)), key=squared_error)
    assert found[0] == 5
    assert found[1] / best in (0.5, 1, 2)


@pytest.mark.parametrize("spoil", [np.nan, np.inf])
def test_activations_that_are_not_finite_are_left_as_they_are(spoil: float) -> None:
    spread = spread_of(peaked(10, 64))
    spread.high[0, 3] = spoil
    assert outliers_for(spread, [normal(64, 96)]) == ()


def test_dead_activations_are_left_as_they_are() -> None:
    assert outliers_for(spread_of(np.zeros((10, 64), np.float32)), [normal(64, 96)]) == ()
