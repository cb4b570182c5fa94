"""Weights alone as integers in blocks."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.ir.editor import Editor
from netwright.ir.errors import PipelineError
from netwright.passes.quantize import Quantize
from netwright.passes.quantize.blockwise import fitting_block_size, quantize_blocks
from netwright.passes.quantize.choice import BlockWise
from netwright.passes.quantize.planning import survey
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, evaluate, linear, normal, ops, quantized, reasons


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("bits", "limit"), [(4, 0.12), (8, 0.012)])
@pytest.mark.parametrize("rows", [64, 80])
def test_a_product_is_close_to_float(rows: int, bits: int, limit: float, symmetric: bool) -> None:
    program = linear(rows=rows)
    x = normal(2, 3, rows)
    outcome = quantized(program, scheme="weights", bits=bits, block_size=32, symmetric=symmetric)
    assert ops(outcome.program) == ["MatMulNBits", "Add"]
    before, after = evaluate(program, {"x": x})[0], evaluate(outcome.program, {"x": x})[0]
    assert 0 < np.linalg.norm(after - before) < limit * np.linalg.norm(before)


def test_weights_on_a_grid_of_sixteen_levels_come_through_as_they_are() -> None:
    weight = (np.random.default_rng(0).integers(0, 16, (64, 64)) - 8).astype(np.float32)
    weight[0], weight[32], weight[1], weight[33] = -8, -8, 7, 7
    program = program_of(f"{HEAD} g (float[N, 64] x, WEIGHTS) => (float[N, 64] y) {{ y = MatMul (x, w) }}", {"w": weight})
    x = np.eye(64, dtype=np.float32)
    outcome = quantized(program, scheme="weights", bits=4)
    assert evaluate(outcome.program, {"x": x})[0] == pytest.approx(weight, abs=1e-3)


@pytest.mark.parametrize("attributes", ["transB: int = 1", "transA: int = 1, alpha: float = 0.5, beta: float = 2.0"])
def test_gemm_keeps_its_attributes_meaning(attributes: str) -> None:
    x_shape, w_shape = ((64, 5), (64, 80)) if "transA" in attributes else ((5, 64), (80, 64))
    weights = {"w": normal(*w_shape, seed=1), "c": normal(80, seed=2)}
    text = f"{HEAD} g (float[{x_shape[0]}, {x_shape[1]}] x, WEIGHTS) => (float[5, 80] y) {{ y = Gemm <{attributes}> (x, w, c) }}"
    program = program_of(text, weights)
    x = normal(*x_shape, seed=3)
    before, after = evaluate(program, {"x": x})[0], evaluate(quantized(program, scheme="weights").program, {"x": x})[0]
    assert np.linalg.norm(after - before) < 0.02 * np.linalg.norm(before)


def test_a_half_precision_model_stays_half_precision_outside() -> None:
    text = f"{HEAD} g (float16[N, 64] x, WEIGHTS) => (float16[N, 96] y) {{ y = MatMul (x, w) }}"
    program = program_of(text, {"w": normal(64, 96).astype(np.float16)})
    x = normal(3, 64, seed=1).astype(np.float16)
    before, after = evaluate(program, {"x": x})[0], evaluate(quantized(program, scheme="weights").program, {"x": x})[0]
    assert after.dtype == np.float16
    assert np.linalg.norm(after.astype(np.float32) - before) < 0.02 * np.linalg.norm(before.astype(np.float32))


@pytest.mark.parametrize(("bits", "width"), [(8, 64), (4, 64), (8, 72), (4, 72)])
def test_a_table_is_close_to_float_whatever_its_width(bits: int, width: int) -> None:
    text = f"{HEAD} g (int64[N] ids, WEIGHTS) => (float[N, {width}] y) {{ y = Gather (table, ids) }}"
    program = program_of(text, {"table": normal(2048, width)})
    ids = {"ids": np.array([0, 3, 2047])}
    outcome = quantized(program, scheme="weights", bits=bits, block_size=16)
    assert ops(outcome.program) == ["GatherBlockQuantized"]
    before, after = evaluate(program, ids)[0], evaluate(outcome.program, ids)[0]
    assert np.linalg.norm(after - before) < (0.1 if bits == 4 else 0.007) * np.linalg.norm(before)


def test_blocks_are_no_longer_than_the_channels_need() -> None:
    outcome = quantized(linear(rows=48, columns=128), scheme="weights", bits=8)
    assert outcome.plans[0].decisions["t"]["block_size"] == 64


def test_recurrent_layers_are_left_to_the_dynamic_scheme() -> None:
    weights = {"w": normal(1, 512, 128), "r": normal(1, 512, 128)}
    text = f"{HEAD} g (float[T, N, 128] x, WEIGHTS) => (float[T, 1, N, 128] y) {{ y = LSTM <hidden_size: int = 128> (x, w, r) }}"
    assert "scheme='dynamic' quantizes LSTMs" in reasons(quantized(program_of(text, weights), scheme="weights"))["y"]


def test_two_schemes_in_one_plan_can_stand_beside_each_other() -> None:
    from dataclasses import replace

    from netwright.passes import Context

    text = f"{HEAD} g (float[N, 64] x, WEIGHTS) => (float[N, 96] y) {{ h = MatMul (x, a)  y = MatMul (h, b) }}"
    program = program_of(text, {"a": normal(64, 64), "b": normal(64, 96)})
    plan = Quantize(scheme="dynamic").make_plan(program, Context())
    other = Quantize(scheme="weights", bits=4).make_plan(program, Context())
    mixed = replace(plan, decisions={"h": plan.decisions["h"], "y": other.decisions["y"]})
    found = ops(quantized(program, Context(plans={"quantize": mixed})).program)
    assert ("MatMulInteger" in found, "MatMulNBits" in found, "MatMul" in found) == (True, True, False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scheme": "weights", "bits": 3}, "takes bits .*, not 3"),
        ({"scheme": "dynamic", "bits": 9}, "takes bits 2, 3, 4, 5, 6, 7, 8, not 9"),
        ({"scheme": "weights", "block_size": 24}, "Block sizes are 16, 32"),
        ({"scheme": "int8"}, "no scheme 'int8'"),
        ({"scheme": "static", "trainable": True, "correct_bias": True}, "nothing to tune, to correct"),
        ({"scheme": "dynamic", "trainable": True}, "goes with scheme='static'"),
        ({"tune": "speed"}, "no tune 'speed'"),
        ({"recipe": "great"}, "no recipe 'great'"),
        ({"budget": {"watts": 3}}, "no quantity watts"),
        ({"metric_drop": -1.0}, "metric_drop is a number from 0"),
        ({"scheme": "weights", "rounding": "upwards"}, "There is no rounding 'upwards'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(PipelineError, match=said):
        Quantize(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("bits", "wanted", "size"), [(4, 16, 16), (2, 16, 32), (2, 64, 64)])
def test_two_bits_take_blocks_that_have_a_fast_kernel(bits: int, wanted: int, size: int) -> None:
    (unit,) = survey(linear(rows=64)).units
    assert fitting_block_size(unit, wanted, bits) == size


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("block_size", [32, 64])
def test_weights_on_a_grid_of_four_levels_come_through_two_bits(block_size: int, symmetric: bool) -> None:
    weight = (np.random.default_rng(0).integers(0, 4, (128, 48)) - 2).astype(np.float32)
    weight[::32], weight[1::32] = -2, 1
    program = program_of(f"{HEAD} g (float[N, 128] x, WEIGHTS) => (float[N, 48] y) {{ y = MatMul (x, w) }}", {"w": weight})
    (unit,) = survey(program).units
    with Editor(program, at=unit.sites[0].node) as editor:
        quantize_blocks(editor, unit, BlockWise(2, block_size, symmetric))
    assert evaluate(program, {"x": np.eye(128, dtype=np.float32)})[0] == pytest.approx(weight, abs=1e-3)
