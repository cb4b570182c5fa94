"""A trained network, real digits: what integers cost, and what of it comes back without training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import netwright as nw
from benchmarks.zoo import Feeds, Run, zoo
from benchmarks.zoo.sessions import open_session
from netwright.backends.onnxruntime.kernels import OrtKernels
from netwright.ir import Program

MODEL = zoo["digit_cnn"]


@pytest.fixture(name="calibration", scope="module")
def _calibration() -> list[Feeds]:
    return MODEL.feeds(16, batch=16)


@pytest.fixture(name="scored")
def _scored(tmp_path: Path) -> Callable[[Program], dict[str, float]]:
    def score(program: Program) -> dict[str, float]:
        nw.save(program, tmp_path / "scored.onnx")
        return MODEL.evaluate(open_session(tmp_path / "scored.onnx"), quick=True).metrics

    return score


def compiled(text: str, calibration: list[Feeds]) -> Program:
    return nw.compile(MODEL.onnx(), f"simplify, {text}", calibration=calibration, latency=False, threads=1).program


def test_static_integers_keep_the_score_and_run_as_integers(
    calibration: list[Feeds], scored: Callable[[Program], dict[str, float]]
) -> None:
    made = compiled("quantize(scheme='static')", calibration)
    before, after = MODEL.evaluate(MODEL.original(), quick=True).metrics, scored(made)
    assert before["uci_digits"] - after["uci_digits"] < 0.01
    assert before["mnist"] - after["mnist"] < 0.01
    kernels = OrtKernels().of(made)
    assert (kernels.integer["QLinearConv"], sum(kernels.integer.values())) == (3, 4)
    assert sum(kernels.floating.values()) == 1, "the head of ten outputs is too small to gain"


def test_more_than_half_of_what_two_bits_cost_comes_back_by_gptq(
    calibration: list[Feeds], scored: Callable[[Program], dict[str, float]]
) -> None:
    before = MODEL.evaluate(MODEL.original(), quick=True).metrics
    nearest = scored(compiled("quantize(scheme='static', bits=2)", calibration))
    fitted = scored(compiled("quantize(scheme='static', bits=2, rounding='gptq')", calibration))
    for metric in ("uci_digits", "mnist"):
        drop = before[metric] - nearest[metric]
        assert drop > 0.01
        assert fitted[metric] - nearest[metric] > drop / 2


def test_layers_go_back_until_the_metric_holds(calibration: list[Feeds]) -> None:
    inputs = MODEL.feeds(1, batch=256, seed=7)[0]
    expected = np.asarray(next(iter(MODEL.original()(inputs).values()))).argmax(-1)

    def agreement(run: Run) -> float:
        found = np.asarray(next(iter(run(inputs).values()))).argmax(-1)
        return float((found == expected).mean())

    def rows(text: str) -> tuple[float, str, list[str]]:
        result = nw.compile(MODEL.onnx(), f"simplify, {text}", calibration=calibration, metric=agreement, latency=False, threads=1)
        last = result.report.passes[-1]
        return float(result.report.after.metric or 0.0), last.note, [miss.reason for miss in last.misses]

    free = rows("quantize(scheme='static', bits=2)")
    held = rows("quantize(scheme='static', bits=2, metric_drop=0.005)")
    assert free[0] < 0.995 <= held[0]
    assert "was over the drop of 0.005" in held[1]


def test_a_static_plan_is_carried_out_again_without_data(calibration: list[Feeds], tmp_path: Path) -> None:
    text = "simplify, quantize(scheme='static')"
    first = nw.compile(MODEL.onnx(), text, calibration=calibration, latency=False, threads=1)
    plan = next(iter(first.plans.values()))
    path = tmp_path / "plan.json"
    path.write_text(plan.to_json())
    again = nw.compile(MODEL.onnx(), f"simplify, quantize(scheme='static', plan='{path}')", latency=False, threads=1)
    for result, name in ((first, "a.onnx"), (again, "b.onnx")):
        result.save(tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_statistics_made_once_serve_in_the_place_of_data(calibration: list[Feeds], tmp_path: Path) -> None:
    nw.calibrate(MODEL.onnx(), calibration, pipeline="simplify").save(tmp_path / "stats.npz")
    text = f"simplify, quantize(scheme='static', statistics='{tmp_path / 'stats.npz'}')"
    kept = nw.compile(MODEL.onnx(), text, latency=False, threads=1).program
    fresh = compiled("quantize(scheme='static')", calibration)
    assert nw.compare(kept, fresh, MODEL.feeds(1, batch=8)[0]).outputs[0].rel < 1e-6
