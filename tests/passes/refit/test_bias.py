"""Where a shift of a layer's output goes: into a bias that is a constant, else behind the layer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.passes.refit import bias_place
from netwright.passes.statistics import layer_of
from tests.passes.programs import program_of

LAYERS: Mapping[str, tuple[str, str, tuple[int, ...], tuple[int, ...], int]] = {
    "a convolution without a bias": ("float[N, 3, 5, 5] x", "y = Conv (x, w)", (4, 3, 3, 3), (2, 3, 5, 5), 1),
    "a convolution whose bias is computed": ("float[N, 3, 5, 5] x, float[4] b", "y = Conv (x, w, b)", (4, 3, 3, 3), (2, 3, 5, 5), 1),
    "one axis": ("float[N, 3, 9] x, float[4] b", "y = Conv (x, w, b)", (4, 3, 3), (2, 3, 9), 1),
    "a product": ("float[N, 3] x", "y = MatMul (x, w)", (3, 4), (2, 3), 1),
    "a product whose bias is computed": ("float[N, 3] x, float[4] b", "y = Gemm (x, w, b)", (3, 4), (2, 3), 1),
    "on the left": ("float[N, 3, S] x", "y = MatMul (w, x)", (4, 3), (2, 3, 5), 1),
}
"""Inputs, node, shape of the weight, shape of the data, and the output's axis of channels."""


@pytest.mark.parametrize("layer", LAYERS)
def test_a_shift_is_added_to_what_the_layer_gives(layer: str):
    inputs, body, shape, data, axis = LAYERS[layer]
    rng = np.random.default_rng(0)
    weight = rng.normal(size=shape).astype(np.float32)
    text = f'<ir_version: 10, opset_import: ["" : 20]>\nlayer ({inputs}, WEIGHTS) => (y)\n{{ {body} }}'
    program = program_of(text, {"w": weight})
    feeds = {"x": rng.normal(size=data).astype(np.float32), "b": rng.normal(size=4).astype(np.float32)}
    feeds = {value.name or "": feeds[value.name or ""] for value in program.inputs}
    executor = OrtExecutor()
    before = executor.run(program, feeds)["y"]
    found = layer_of(next(node for node in program.graph if node.op_type in ("Conv", "MatMul", "Gemm")))
    assert found is not None
    shift = rng.normal(size=4)
    with program.edit(at=found.node) as editor:
        bias_place(found).add(editor, shift)
    along = shift.reshape(-1, *(1,) * (before.ndim - 1 - axis))
    np.testing.assert_allclose(executor.run(program, feeds)["y"], before + along, atol=1e-5)
