"""What ONNX Runtime makes of a program."""

from __future__ import annotations

import numpy as np

from netwright.backends.onnxruntime import OrtKernels
from netwright.passes.kernels import Kernel, KernelReport
from netwright.passes.quantize.static import left_float
from tests.passes.programs import attention, branches, conv_net
from tests.passes.quantize.helpers import normal
from tests.passes.quantize.static_helpers import graph, kernels, network, quantized, weights


def test_float_programs_have_float_kernels() -> None:
    assert OrtKernels().of(conv_net()).integer == {}
    assert sum(OrtKernels().of(conv_net()).floating.values()) == 2
    assert sum(OrtKernels().of(attention()).floating.values()) == 7
    assert OrtKernels().of(branches()).kernels


def test_kernels_are_counted_by_kind() -> None:
    report = KernelReport(
        (
            Kernel("QLinearConv", ("a",), weighs=True, is_integer=True),
            Kernel("QLinearAdd", ("b",), is_integer=True),
            Kernel("MatMul", ("c",), weighs=True),
            Kernel("QuantizeLinear", ("d",)),
        )
    )
    assert str(report) == "2 integer kernels (1 QLinearConv, 1 QLinearAdd), 1 in float (1 MatMul)"
    assert report.conversions == {"QuantizeLinear": 1}
    assert report.float_values == {"c"}


def test_a_kernel_that_was_not_fused_is_named() -> None:
    body = """q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  v = DequantizeLinear (w, s)  c = Conv (d, v)  y = Relu (c)"""
    held = {"s": np.array(0.1, np.float32), "z": np.array(100, np.uint8), "w": np.ones((8, 8, 1, 1), np.int8)}
    program = graph(body, "float y", "float[N, 8, 4, 4] x", held)
    (miss,) = left_float(program, kernels(program))
    assert (miss.site, miss.reason[:15]) == ("c", "runs as a float")


def test_what_is_fused_is_not() -> None:
    program, feeds = network("float[N, 8, 4, 4] x", "y = Conv (x, w, b)", weights(w=(8, 8, 1, 1), b=(8,))), {"x": normal(2, 8, 4, 4)}
    outcome = quantized(program, feeds)
    assert list(left_float(outcome.program, kernels(outcome.program))) == []
