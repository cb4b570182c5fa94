"""What is known of inputs: errors that are predicted are those that outputs have, whatever the operator."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.program import Program
from netwright.passes import Context, Pipeline, run
from netwright.passes.factorize.evidence import study, views
from netwright.passes.factorize.sites import FactorSite, find_factor_sites
from tests.passes.programs import program_of

EXECUTOR = OrtExecutor(threads=1)
HEAD = '<ir_version: 10, opset_import: ["" : 20]>'

GEOMETRY = "pads: ints = [1, 0, 1, 2], strides: ints = [2, 1], dilations: ints = [1, 2]"

CASES: Mapping[str, tuple[str, str, tuple[int, ...], tuple[int, ...]]] = {
    "product": ("float[N, S, 24] x", "y = MatMul (x, w)", (24, 20), (8, 9, 24)),
    "gemm": ("float[N, 24] x", "y = Gemm <alpha: float = 0.5, transB: int = 1> (x, w)", (20, 24), (60, 24)),
    "on the left": ("float[N, 24, S] x", "y = MatMul (w, x)", (20, 24), (8, 24, 9)),
    "convolution": (
        "float[N, 5, 9, 8] x",
        "y = Conv <pads: ints = [1, 0, 1, 2], strides: ints = [2, 1]> (x, w)",
        (12, 5, 3, 3),
        (6, 5, 9, 8),
    ),
    "groups": (
        "float[N, 12, 20] x",
        "y = Conv <group: int = 2, pads: ints = [2, 2], dilations: ints = [2]> (x, w)",
        (16, 6, 3),
        (9, 12, 20),
    ),
    "transposed": ("float[N, 20, 5, 5] x", "y = ConvTranspose <strides: ints = [2, 2]> (x, w)", (20, 6, 2, 2), (6, 20, 5, 5)),
}
"""Inputs, node, shape of the weight, shape of the data."""


def made(case: str) -> tuple[Program, dict[str, np.ndarray]]:
    inputs, body, shape, data = CASES[case]
    rng = np.random.default_rng(3)
    weight = (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
    program = program_of(f"{HEAD}\nlayer ({inputs}, WEIGHTS) => (y)\n{{ {body} }}", {"w": weight})
    channels = 1 if case not in ("product", "gemm") else len(data) - 1
    size = data[channels]
    mixing = rng.normal(size=(size, size)) * np.geomspace(2, 0.02, size)
    x = np.moveaxis(rng.normal(size=data), channels, -1) @ mixing.T + rng.normal(size=size)
    return program, {"x": np.moveaxis(x, -1, channels).astype(np.float32)}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("correct", [True, False])
def test_what_is_predicted_is_lost(case: str, correct: bool):
    program, feeds = made(case)
    context = Context(calibration=[feeds], executor=EXECUTOR)
    text = f"factorize(rank=5, round_to=1, recalibrate=False, correct_bias={correct})"
    outcome = run(program, Pipeline.parse(text), context, verify_each=True)
    told = re.search(r"([0-9.]+)% of the output's energy lost", outcome.program.ledger.actions[0].why)
    assert told is not None
    was, now = (EXECUTOR.run(one, feeds)["y"].astype(np.float64) for one in (program, outcome.program))
    centred = correct and case != "transposed"
    axis = {"product": (0, 1), "gemm": (0,), "on the left": (0, 2)}.get(case, (0, *range(2, was.ndim)))
    whole = was - was.mean(axis=axis, keepdims=True) if centred else was
    assert np.square(now - was).sum() / np.square(whole).sum() == pytest.approx(float(told[1]) / 100, rel=0.01, abs=6e-5)
    if centred:
        assert np.abs((now - was).mean(axis=axis)).max() < 1e-4


@pytest.mark.parametrize("case", ["convolution", "groups"])
def test_wide_convolutions_are_weighed_by_their_channels(case: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(views, "WIDEST", 4)
    program, feeds = made(case)
    (site,) = (found for found in find_factor_sites(program) if isinstance(found, FactorSite))
    known = study(program, [site], "moments", Context(calibration=[feeds], executor=EXECUTOR)).of(site)
    x = feeds["x"].astype(np.float64)
    grouped = np.moveaxis(x, 1, -1).reshape(-1, site.groups, x.shape[1] // site.groups)
    expected = np.einsum("ngi,ngj->gij", grouped, grouped) / len(grouped)
    assert known.operator.second is not None
    np.testing.assert_allclose(known.operator.second, expected, rtol=1e-6)
    assert known.mean is None


def test_weights_that_see_the_same_share_their_moments():
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=(24, 20)).astype(np.float32) for name in ("a", "b")}
    program = program_of(
        f"{HEAD}\ntwo (float[N, 24] x, WEIGHTS) => (float[N, 20] y)\n{{ p = MatMul (x, a)  q = MatMul (x, b)  y = Add (p, q) }}", weights
    )
    sites = [found for found in find_factor_sites(program) if isinstance(found, FactorSite)]
    feeds = {"x": rng.normal(size=(50, 24)).astype(np.float32)}
    known = study(program, sites, "moments", Context(calibration=[feeds], executor=EXECUTOR))
    assert known.of(sites[0]).operator.second is known.of(sites[1]).operator.second


def test_what_is_not_finite_is_left_out_and_told():
    program, feeds = made("gemm")
    feeds["x"][0, 0] = np.inf
    outcome = run(program, Pipeline.parse("factorize(rank=5)"), Context(calibration=[feeds], executor=EXECUTOR))
    assert any("nothing is known of what it sees" in miss.reason for miss in outcome.rows[0].misses)
    assert outcome.rows[0].actions == 1


def test_recurrent_layers_are_weighed_by_inputs_and_states():
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(1, 96, 20)), "r": rng.normal(size=(1, 96, 24))}
    program = program_of(
        f"{HEAD}\nlayer (float[T, N, 20] x, WEIGHTS) => (y, h, c)\n{{ y, h, c = LSTM <hidden_size: int = 24> (x, w, r) }}",
        {name: (data / 8).astype(np.float32) for name, data in weights.items()},
    )
    feeds = {"x": rng.normal(size=(12, 30, 20)).astype(np.float32)}
    sites = [found for found in find_factor_sites(program, recurrent=True) if isinstance(found, FactorSite)]
    known = study(program, sites, "moments", Context(calibration=[feeds], executor=EXECUTOR))
    states = EXECUTOR.run(program, feeds, ["y"])["y"][:-1, 0].reshape(-1, 24).astype(np.float64)
    by_kind = {site.kind: known.of(site) for site in sites}
    assert by_kind["state"].operator.second is not None
    np.testing.assert_allclose(by_kind["state"].operator.second[0], states.T @ states / len(states), rtol=1e-5, atol=1e-9)
    x = feeds["x"].reshape(-1, 20).astype(np.float64)
    assert by_kind["recurrent"].operator.second is not None
    np.testing.assert_allclose(by_kind["recurrent"].operator.second[0], np.cov(x.T, bias=True), rtol=1e-5, atol=1e-7)


def test_readers_that_differ_in_alpha_leave_no_mean_to_biases():
    rng = np.random.default_rng(0)
    program = program_of(
        f"{HEAD}\ntwo (float[N, 24] x, WEIGHTS) => (float[N, 20] y)\n"
        "{ p = Gemm <alpha: float = 0.5> (x, w)  q = Gemm (x, w)  y = Add (p, q) }",
        {"w": rng.normal(size=(24, 20)).astype(np.float32)},
    )
    feeds = {"x": (rng.normal(size=(50, 24)) + 3).astype(np.float32)}
    outcome = run(program, Pipeline.parse("factorize(rank=5, recalibrate=False)"), Context(calibration=[feeds], executor=EXECUTOR))
    told = re.search(r"([0-9.]+)% of the output's energy lost", outcome.program.ledger.actions[0].why)
    was, now = (EXECUTOR.run(one, feeds)["y"].astype(np.float64) for one in (program, outcome.program))
    assert told is not None
    assert np.square(now - was).sum() / np.square(was).sum() == pytest.approx(float(told[1]) / 100, rel=0.01, abs=6e-5)
