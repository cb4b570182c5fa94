"""`unroll, quantize(scheme='static'), fold`: the products of a recurrent layer between integers."""

from __future__ import annotations

import numpy as np
import pytest

import netwright as nw
from netwright.ir import Program
from netwright.passes.values import errors
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, evaluate, normal, ops

STEPS, BATCH, INPUTS, HIDDEN = 6, 4, 64, 64
GATES = {"LSTM": 4, "GRU": 3}


def recurrent(kind: str) -> Program:
    """A bidirectional layer."""
    gates = GATES[kind] * HIDDEN
    weights = {
        "w": normal(2, gates, INPUTS, seed=1) / 8,
        "r": normal(2, gates, HIDDEN, seed=2) / 8,
        "b": normal(2, 2 * gates, seed=3) / 4,
    }
    text = f"""{HEAD} g (float[{STEPS}, N, {INPUTS}] x, WEIGHTS) => (float[{STEPS}, 2, N, {HIDDEN}] y)
    {{ y = {kind} <hidden_size: int = {HIDDEN}, direction: string = "bidirectional"> (x, w, r, b) }}"""
    return program_of(text, weights)


@pytest.mark.parametrize(("kind", "products", "weights"), [("LSTM", 1 + 2 * (STEPS - 1), 3), ("GRU", 1 + 4 * (STEPS - 1), 5)])
def test_every_product_is_between_integers(kind: str, products: int, weights: int):
    program = recurrent(kind)
    data = [{"x": normal(STEPS, BATCH, INPUTS, seed=seed)} for seed in range(4, 8)]
    result = nw.compile(program, "unroll, quantize(scheme='static'), fold", calibration=data, latency=False, threads=1).program
    assert ops(result).count("MatMul") == products
    for node in result.nodes("MatMul"):
        makers = [value.producer() for value in node.inputs if value is not None]
        assert [maker.op_type for maker in makers if maker is not None] == ["DequantizeLinear"] * 2
    assert len({node.inputs[1] for node in result.nodes("MatMul")}) == products  # a reader each for what follows ...
    stored = {node.inputs[0] for node in result.nodes("DequantizeLinear") if node.inputs[0] is not None and node.inputs[0].is_initializer()}
    assert [value.dtype.name for value in stored if value.dtype is not None] == ["INT8"] * weights  # ... of one constant for all steps
    feeds = {"x": normal(STEPS, BATCH, INPUTS, seed=9)}
    before, after = ({"y": evaluate(one, feeds)[0]} for one in (program, result))
    assert errors(before, after).rel < 0.03
    assert np.abs(before["y"]).max() > 0.5
