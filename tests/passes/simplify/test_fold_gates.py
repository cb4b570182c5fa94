"""Torch's exports cut an LSTM's weights into gates and join them in ONNX's order: folded, so that the LSTM has its weights again."""

from __future__ import annotations

import numpy as np

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import array
from netwright.passes import Context, Pipeline, run
from tests.passes.programs import feeds_for, program_of

HIDDEN, INPUTS = 64, 96


def gate(name: str, source: str, start: int) -> str:
    return f"{name} = Slice ({source}, at{start}, at{start + 1}, zero)"


def test_gates_are_reordered_once_and_for_all() -> None:
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(4 * HIDDEN, INPUTS)).astype(np.float32) / 10,
        "R": rng.normal(size=(1, 4 * HIDDEN, HIDDEN)).astype(np.float32) / 10,
    }
    program = program_of(
        f"""<ir_version: 10, opset_import: ["" : 20]>
        lstm (float[T, N, {INPUTS}] x, WEIGHTS) => (float[T, D, N, {HIDDEN}] y)
        <int64[1] zero = {{0}}, {", ".join(f"int64[1] at{g} = {{{g * HIDDEN}}}" for g in range(5))}>
        {{
            {gate("i", "w", 0)}
            {gate("f", "w", 1)}
            {gate("g", "w", 2)}
            {gate("o", "w", 3)}
            iofg = Concat <axis: int = 0> (i, o, f, g)
            W = Unsqueeze (iofg, zero)
            y = LSTM <hidden_size: int = {HIDDEN}> (x, W, R)
        }}""",
        weights,
    )
    folded = run(program, Pipeline.parse("simplify"), Context()).program
    assert [node.op_type for node in folded.nodes()] == ["LSTM"]
    parts = weights["w"].reshape(4, HIDDEN, INPUTS)
    kept = array(next(folded.nodes()).inputs[1])
    assert kept is not None
    np.testing.assert_array_equal(kept, parts[[0, 3, 1, 2]].reshape(1, 4 * HIDDEN, INPUTS))
    feeds = feeds_for(program)
    np.testing.assert_array_equal(OrtExecutor().run(folded, feeds)["y"], OrtExecutor().run(program, feeds)["y"])


def test_a_weight_that_is_also_used_whole_is_not_copied_into_parts() -> None:
    program = program_of(
        f"""<ir_version: 10, opset_import: ["" : 20]>
        g (float[N, 256] x, WEIGHTS) => (float[N, {INPUTS}] y, float[N, {INPUTS}] z)
        <int64[1] zero = {{0}}, int64[1] end = {{128}}>
        {{
            y = MatMul (x, w)
            part = Slice (w, zero, end, zero)
            half = Slice (x, zero, end, one)
            z = MatMul (half, part)
        }}""".replace("one)", "axis)").replace("int64[1] end", "int64[1] axis = {1}, int64[1] end"),
        {"w": np.ones((256, INPUTS), np.float32)},
    )
    outcome = run(program, Pipeline.parse("simplify"), Context())
    assert any(miss.site == "part" for miss in outcome.rows[0].misses)
    large = [value.name for value in outcome.program.initializers() if value.const_value is not None and value.const_value.size > 1000]
    assert large == ["w"]
