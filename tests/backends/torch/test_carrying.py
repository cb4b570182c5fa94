"""Integer weights are trained in real units, so that one learning rate suits them all."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import netwright as nw
from netwright.backends.torch import binding_of
from netwright.ir.program import Program

QLINEAR = """<ir_version: 10, opset_import: ["" : 21]>
convolution (uint8[N, 2, 5, 5] x) => (uint8[N, 3, 3, 3] y)
<float xs = {0.5}, uint8 xz = {3}, float[3] ws = {0.25, 0.125, 0.25}, int8[3] wz = {0, 0, 0}, float ys = {4.0}, uint8 yz = {7},
 int8[3, 2, 3, 3] w, int32[3] b> {
    y = QLinearConv(x, xs, xz, w, ws, wz, ys, yz, b)
}"""


def quantized() -> Program:
    model = onnx.parser.parse_model(QLINEAR)
    rng = np.random.default_rng(0)
    arrays = {"w": rng.integers(-127, 128, (3, 2, 3, 3)).astype(np.int8), "b": np.array([80, -400, 16], np.int32)}
    for name, array in arrays.items():
        old = next((tensor for tensor in model.graph.initializer if tensor.name == name), None)
        if old is not None:
            model.graph.initializer.remove(old)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return nw.load(model)


def test_weights_and_bias_of_a_quantized_convolution_are_trained_in_real_units() -> None:
    program = quantized()
    module = nw.to_torch(program)
    parameters = dict(module.named_parameters())
    scale = np.mean([0.25, 0.125, 0.25])
    assert parameters["b"].detach().numpy() == pytest.approx(np.array([80, -400, 16]) * 0.5 * scale)
    weights = program.value("w").const_value
    assert weights is not None
    assert parameters["w"].detach().numpy() == pytest.approx(weights.numpy() * scale, rel=1e-6)
    assert {bound.kind for bound in binding_of(module).tensors.values() if bound.value in ("w", "b")} == {"latent"}


def test_untouched_integers_come_back_bit_for_bit() -> None:
    program = quantized()
    back = nw.write_back(program, nw.to_torch(program))
    for name in ("w", "b"):
        before, after = program.value(name).const_value, back.value(name).const_value
        assert before is not None
        assert after is not None
        assert before.numpy().tobytes() == after.numpy().tobytes()
