"""Latencies are measured in turns and related to the first."""

from __future__ import annotations

import gc

import numpy as np
import onnx_ir

from netwright.backends.onnxruntime import OrtTimer, lower, measure
from netwright.backends.onnxruntime.latency import summary
from netwright.ir import Program

TEXT = '<ir_version: 10, opset_import: ["" : 20]> g (float[N, N] x) => (float[N, N] y) { y = MatMul(x, x) }'
FEEDS = {"x": np.ones((8, 8), np.float32)}


def program() -> Program:
    return Program(onnx_ir.from_onnx_text(TEXT))


def test_every_program_is_timed_and_the_first_is_one():
    executable = lower(program(), threads=1)
    first, second = measure([executable, executable], FEEDS, rounds=3)
    assert first.ratio_to_first == 1.0
    assert first.runs >= 3
    assert 0 < second.best_ms <= second.median_ms
    assert set(second.to_dict()) == {"best_ms", "median_ms", "quartiles_ms", "ratio_to_first", "ratio_quartiles", "runs"}
    assert gc.isenabled()


def test_the_budget_ends_the_rounds_after_the_one_that_passes_it():
    executable = lower(program(), threads=1)
    assert measure([executable], FEEDS, rounds=10**9, seconds=0.0)[0].runs <= 50


def test_a_slow_moment_of_the_machine_does_not_change_the_ratio():
    first = [[1.0], [10.0], [1.0]]
    half = [[0.5], [5.0], [0.5]]
    found = summary(half, first)
    assert found.ratio_to_first == 0.5
    assert found.ratio_quartiles == (0.5, 0.5)
    assert found.best_ms == 500.0


def test_the_timer_gives_milliseconds():
    assert OrtTimer(FEEDS, rounds=2).time(program()) > 0
