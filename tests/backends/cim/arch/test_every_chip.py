"""Every preset takes a model of 8-bit products, a recurrent one written out step by step: lowered, mapped, simulated."""

from __future__ import annotations

import numpy as np
import pytest

import netwright as nw
from netwright.backends.cim.arch import Arch, preset, presets
from netwright.backends.cim.lowering import lower_graph
from netwright.backends.cim.mapping import build
from netwright.backends.cim.simulator import Machine
from netwright.ir import Program
from netwright.passes import Context
from netwright.targets import region_runner
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, evaluate, normal

STEPS, INPUTS, HIDDEN = 4, 64, 64
EXACT = ("generic-28nm", "dimc3-isscc23")
"""Chips whose sums all have a code of their own."""


@pytest.fixture(scope="module")
def quantized() -> Program:
    """An LSTM over rows of [N, steps, inputs], its products between bytes."""
    weights = {
        "w": normal(1, 4 * HIDDEN, INPUTS, seed=1) / 8,
        "r": normal(1, 4 * HIDDEN, HIDDEN, seed=2) / 8,
        "b": normal(1, 8 * HIDDEN, seed=3) / 4,
        "axes": np.array([0]),
    }
    program = program_of(
        f"""{HEAD} g (float[N, {STEPS}, {INPUTS}] x, WEIGHTS) => (float[N, {HIDDEN}] last)
        {{ turned = Transpose <perm = [1, 0, 2]> (x)
           y, yh = LSTM <hidden_size: int = {HIDDEN}> (turned, w, r, b)
           last = Squeeze (yh, axes) }}""",
        weights,
    )
    data = [{"x": normal(4, STEPS, INPUTS, seed=seed)} for seed in range(4, 8)]
    return nw.compile(program, "unroll(hoist=False), quantize(scheme='static'), fold", calibration=data, latency=False, threads=1).program


def on_chip(program: Program, arch: Arch, feeds: dict[str, np.ndarray]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The output on the simulator, and what the mapping noted."""
    lowered = lower_graph(program, Context(), arch=arch).program
    assert sum(node.op_type == "CrossbarMatMul" for node in lowered.graph) == 2 * STEPS - 1
    chip = build(lowered, arch, name="lstm")
    outputs, _ = Machine(chip, region_runner, threads=1).run(feeds)
    return outputs["last"], chip.notes


@pytest.mark.parametrize("arch", presets(), ids=lambda arch: arch.name)
def test_a_recurrent_model_runs(arch: Arch, quantized: Program):
    feeds = {"x": normal(3, STEPS, INPUTS, seed=9)}
    expected = evaluate(quantized, feeds)[0]
    found, notes = on_chip(quantized, arch, feeds)
    assert [note for note in notes if "host" in note] == []
    if arch.name in EXACT:
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98


def test_all_steps_share_the_weights_on_the_chip(quantized: Program):
    chip = build(lower_graph(quantized, Context(), arch=preset()).program, preset(), name="lstm")
    assert sorted(matrix.values.shape for matrix in chip.matrices) == [(HIDDEN, 4 * HIDDEN), (INPUTS, 4 * HIDDEN)]
