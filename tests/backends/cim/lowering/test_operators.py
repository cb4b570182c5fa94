"""Quantized operators of their own are products too."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backends.cim.lowering.graphs import count, kernel, lowered, normal, outputs, quantized


def test_a_qlinear_convolution() -> None:
    body = "q_y = QLinearConv <pads = [1, 1, 1, 1]> (q, xs, xz, w, ws, wz, ys, yz, b)"
    program = quantized((1, 3, 8, 8), body, kernel(1, 5, 3, 3, 3), out="q_y")
    onto = lowered(program)
    assert (count(onto, "CrossbarMatMul"), count(onto, "QLinearConv"), count(onto, "Conv")) == (1, 0, 0)
    x = normal(2, 1, 3, 8, 8)
    np.testing.assert_array_equal(outputs(onto, {"x": x})["q_y"], outputs(program, {"x": x})["q_y"])


@pytest.mark.parametrize("each", [True, False])
def test_a_qlinear_product(each: bool) -> None:
    weights = kernel(3, 20, 6, axis=1, bias=False)
    if not each:
        weights |= {"ws": np.array(0.01, np.float32), "wz": np.array(0, np.int8)}
    program = quantized((4, 20), "q_y = QLinearMatMul (q, xs, xz, w, ws, wz, ys, yz)", weights, out="q_y")
    onto = lowered(program)
    assert (count(onto, "CrossbarMatMul"), count(onto, "QLinearMatMul")) == (1, 0)
    x = normal(2, 4, 20)
    np.testing.assert_array_equal(outputs(onto, {"x": x})["q_y"], outputs(program, {"x": x})["q_y"])


def test_sums_of_inputs_quantized_while_it_runs() -> None:
    body = """dq, ds, dz = DynamicQuantizeLinear (x)
        i = MatMulInteger (dq, w, dz)
        y = Cast <to = 1> (i)"""
    program = quantized((4, 20), body, {"w": kernel(3, 20, 6, axis=1)["w"]})
    onto = lowered(program)
    assert (count(onto, "CrossbarMatMul"), count(onto, "MatMulInteger")) == (1, 0)
    x = normal(2, 4, 20)
    np.testing.assert_array_equal(outputs(onto, {"x": x})["y"], outputs(program, {"x": x})["y"])
