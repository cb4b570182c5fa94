"""Transposes move through integers from product to product, and stay away from sums of floats."""

from __future__ import annotations

import numpy as np

from netwright.backends.cim.lowering.channels import transposes
from netwright.ir.program import Program
from tests.backends.cim.lowering.graphs import count, kernel, lowered, normal, outputs, quantized

FIRST = """
    v = DequantizeLinear <axis = 0> (w, ws, wz)
    f = Conv <pads = [1, 1, 1, 1]> (d, v)
    q_f = QuantizeLinear (f, ys, yz)
    d_f = DequantizeLinear (q_f, ys, yz)
    r = Relu (d_f)
    s = Add (r, d_f)
"""
SECOND = """
    q_s = QuantizeLinear (s, ys, yz)
    d_s = DequantizeLinear (q_s, ys, yz)
    g = Conv <pads = [1, 1, 1, 1]> (d_s, v)
    q_y = QuantizeLinear (g, ys, yz)
"""
MEAN = "y = ReduceMean <keepdims = 0> (s, axes)"
SHAPE = (1, 6, 9, 7)


def net(body: str, out: str) -> Program:
    weights = kernel(3, 6, 6, 3, 3, bias=False)
    return quantized(SHAPE, body, {**weights, "axes": np.array([2, 3])} if "axes" in body else weights, out=out)


def test_maps_keep_channels_last_between_products() -> None:
    program = net(FIRST + SECOND, "q_y")
    onto = lowered(program)
    assert count(onto, "CrossbarMatMul") == 2
    assert transposes(onto) == 2  # at the first input and the last output
    feeds = {"x": normal(4, *SHAPE)}
    np.testing.assert_array_equal(outputs(onto, feeds)["q_y"], outputs(program, feeds)["q_y"])


def test_a_mean_of_floats_finds_them_in_the_order_that_they_had() -> None:
    program = net(FIRST + MEAN, "y")
    onto = lowered(program)
    moved = [node for node in onto.nodes("Transpose") if node.outputs[0].dtype is not None]
    assert len(moved) == 2
    assert all(node.outputs[0].dtype.numpy() == np.uint8 for node in moved if node.outputs[0].dtype is not None)
    for seed in range(8):
        feeds = {"x": normal(seed, *SHAPE)}
        np.testing.assert_array_equal(outputs(onto, feeds)["y"], outputs(program, feeds)["y"])
