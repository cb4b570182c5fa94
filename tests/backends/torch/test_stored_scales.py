"""Scales of stored integers are moved relatively: an optimizer's step, which is made for weights, would be many times as large as they."""

from __future__ import annotations

import numpy as np
import pytest

import netwright as nw
from netwright.backends.torch import binding_of
from netwright.ir.program import Program
from netwright.training.optimizers import make_optimizer
from netwright.training.options import TrainOptions
from tests.passes.programs import program_of

TABLE = """<ir_version: 10, opset_import: ["" : 21]> table (int64[N, 3] ids, WEIGHTS) => (float[N, 3, 4] y) {
    q = Gather (t, ids) f = Cast <to = 1> (q) s = Gather (t_s, ids) e = Mul (f, s) y = Add (e, b) }"""
DYNAMIC = """<ir_version: 10, opset_import: ["" : 21]> dynamic (float[N, 6] x, WEIGHTS) => (float[N, 4] y) {
    q, s, z = DynamicQuantizeLinear (x) i = MatMulInteger (q, w, z) f = Cast <to = 1> (i) c = Mul (s, w_s) y = Mul (f, c) }"""
POSITIONS = """<ir_version: 10, opset_import: ["" : 21]> places (float[N, 4] x, WEIGHTS) => (float[N, 4] y) {
    f = Cast <to = 1> (places) p = Mul (f, frequency) y = Add (x, p) }"""


def table() -> Program:
    draw = np.random.default_rng(0)
    return program_of(
        TABLE,
        {
            "t": draw.integers(-127, 128, (50, 4)).astype(np.int8),
            "t_s": draw.uniform(2e-4, 6e-4, (50, 1)).astype(np.float32),
            "b": np.zeros((1, 1, 4), np.float32),
        },
    )


def kinds(program: Program) -> dict[str, str]:
    return {bound.value: bound.kind for bound in binding_of(nw.to_torch(program)).tensors.values()}


def test_scales_of_tables_and_of_products_of_integers_are_steps() -> None:
    draw = np.random.default_rng(0)
    weight = {"w": draw.integers(-127, 128, (6, 4)).astype(np.int8), "w_s": np.full(4, 1e-3, np.float32)}
    assert kinds(table()) == {"t": "buffer", "t_s": "step", "b": "parameter"}
    assert kinds(program_of(DYNAMIC, weight)) == {"w": "latent", "w_s": "step"}


def test_a_scale_that_has_no_logarithm_is_a_setting() -> None:
    program = table()
    with program.edit(by="test") as editor:
        editor.set_constant(program.value("t_s"), np.zeros((50, 1), np.float32))
    assert kinds(program)["t_s"] == "buffer"


def test_what_multiplies_positions_is_a_weight() -> None:
    arrays = {"places": np.arange(4, dtype=np.int64)[None], "frequency": np.ones((1, 4), np.float32) / 3}
    assert kinds(program_of(POSITIONS, arrays))["frequency"] == "parameter"


@pytest.mark.parametrize("scale_rate", [None, 0.0])
def test_training_moves_scales_by_shares(scale_rate: float | None) -> None:
    ids = np.arange(48, dtype=np.int64).reshape(16, 3)
    data = {"ids": ids, "labels": np.full((16, 3, 4), 0.05, np.float32)}
    before = table()
    after = nw.train(before, data, loss="mse", steps=20, batch_size=16, lr=1e-3, schedule="constant", scale_rate=scale_rate, threads=1)
    old, new = (np.asarray(one.value("t_s").const_value.numpy()) for one in (before, after))  # pyright: ignore[reportOptionalMemberAccess]
    ratio = new[:48] / old[:48]
    assert (new[48:] == old[48:]).all()
    assert np.abs(ratio - 1).max() < 0.03
    assert (np.abs(ratio - 1).max() > 0.005) == (scale_rate is None)


def test_biases_of_one_row_have_no_decay() -> None:
    text = """<ir_version: 10, opset_import: ["" : 21]> flat (float[N, 6] x, WEIGHTS) => (float[N, 1] y) {
        a = MatMul (x, w) h = Add (a, b) y = MatMul (h, v) }"""
    draw = np.random.default_rng(0)
    arrays = {name: draw.normal(size=size).astype(np.float32) for name, size in (("w", (6, 4)), ("b", (1, 4)), ("v", (4, 1)))}
    program = program_of(text, arrays)
    module = nw.to_torch(program)
    optimizer = make_optimizer(module, program, 10, TrainOptions(lr=1e-3))
    named = dict(module.named_parameters())
    decay = {
        name: group["weight_decay"]
        for group in optimizer.param_groups
        for name, one in named.items()
        if any(one is p for p in group["params"])
    }
    assert decay == {"w": 0.01, "b": 0.0, "v": 0.01}
