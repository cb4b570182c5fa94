"""Where the target's arrays multiply, what is static gets there, whatever its size and stride; nothing else is made."""

from __future__ import annotations

import numpy as np

from netwright.backends.cim.arch import preset
from netwright.backends.cim.target import CimTarget
from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.passes import Context, Outcome, Pipeline, run
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, linear, normal, ops, reasons


def for_a_chip(program: Program, text: str, feeds: dict[str, np.ndarray]) -> Outcome:
    context = Context(calibration=[feeds], executor=OrtExecutor(), target=CimTarget(preset()))
    return run(program, Pipeline.parse(text), context)


def test_small_products_become_static() -> None:
    program = linear(rows=32, columns=8)
    name = program.inputs[0].name or ""
    feeds = {name: np.random.default_rng(0).normal(size=(2, 4, 32)).astype("f4")}
    outcome = for_a_chip(program, "quantize", feeds)
    assert outcome.rows[0].actions > 0
    assert "QuantizeLinear" in ops(outcome.program)
    assert "arrays take nothing else" in outcome.rows[0].note


def test_strides_stay() -> None:
    program = program_of(
        f"{HEAD} g (float[1, 3, 16, 16] x, WEIGHTS) => (float y) {{ y = Conv <strides=[2, 2]> (x, w) }}", {"w": normal(8, 3, 3, 3)}
    )
    feeds = {"x": np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype("f4")}
    assert "SpaceToDepth" not in ops(for_a_chip(program, "quantize(scheme='static')", feeds).program)


def test_recurrent_layers_are_to_be_unrolled() -> None:
    weights = {"w": normal(1, 256, 64), "r": normal(1, 256, 64)}
    program = program_of(f"{HEAD} g (float[5, 1, 64] x, WEIGHTS) => (float y) {{ y = LSTM <hidden_size=64> (x, w, r) }}", weights)
    feeds = {"x": np.random.default_rng(0).normal(size=(5, 1, 64)).astype("f4")}
    assert "`unroll` before quantize" in reasons(for_a_chip(program, "quantize(scheme='static')", feeds))["y"]
