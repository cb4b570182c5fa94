"""Layers that were left float stay float, whatever the runtime would make of them."""

from __future__ import annotations

import numpy as np

from netwright.backends.onnxruntime import OrtExecutor, SessionOptions
from netwright.passes import Context
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, normal, ops, quantized


def test_a_float_convolution_behind_integers_is_not_quantized_by_the_runtime() -> None:
    uneven = np.array([1e-3, 1.0, 1.0, 30.0], np.float32).reshape(4, 1, 1, 1)
    weights = {"a": normal(8, 3, 3, 3), "b": normal(4, 8, 1, 1) * uneven}
    text = f"{HEAD} g (float[1, 3, 10, 10] x, WEIGHTS) => (float[1, 4, 8, 8] y) {{ h = Conv (x, a)  y = Conv (h, b) }}"
    feeds = {"x": normal(1, 3, 10, 10, seed=3)}
    context = Context(calibration=[feeds], executor=OrtExecutor())
    made = quantized(program_of(text, weights), context, scheme="static", exclude="y").program
    assert "Clip" in ops(made)
    read = list(made.nodes("Conv"))[-1].inputs[0]
    assert read is not None
    assert read.name is not None
    for level in ("basic", "all"):
        executor = OrtExecutor(options=SessionOptions(level=level))
        seen = executor.run(made, feeds, [read.name])[read.name]
        expected = np.einsum("oc,nchw->nohw", weights["b"][:, :, 0, 0], seen)
        np.testing.assert_allclose(executor.run(made, feeds)["y"], expected, rtol=1e-4, atol=1e-5)
