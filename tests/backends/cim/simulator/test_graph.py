"""Lowered programs as graphs: ONNX Runtime's values on their expansion, whatever the batch and the pieces."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.backends.cim.arch.model import Adc, Arch, Array
from netwright.backends.cim.simulator.graph import GraphExecutor
from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.errors import DataError
from netwright.ir.program import Program
from netwright.targets import region_runner
from tests.backends.cim.lowering.graphs import kernel, lowered, normal, quantized

CONV = """
    wd = DequantizeLinear <axis = 0> (w, ws, wz)
    bd = DequantizeLinear <axis = 0> (b, bs, bz)
    c = Conv <pads = [1, 1, 1, 1]> (d, wd, bd)
    r = Relu (c)
    q_y = QuantizeLinear (r, ys, yz)
    dy = DequantizeLinear (q_y, ys, yz)
    y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (dy)
"""
NOISY = Arch(name="noisy", array=Array(rows=16, active_rows=16, adc=Adc(bits=3, mode="step")))


@pytest.fixture(scope="module")
def conv() -> Program:
    return lowered(quantized((1, 4, 6, 6), CONV, kernel(0, 5, 4, 3, 3)))


def executor(chunk: int = 32) -> GraphExecutor:
    return GraphExecutor(region_runner, chunk=chunk)


def test_values_are_those_of_the_expansion(conv: Program) -> None:
    x = normal(1, 1, 4, 6, 6)
    inner = [value.name or "" for node in conv.graph for value in node.outputs if node.domain]
    wanted = [*inner, "y"]
    expanded = OrtExecutor().run(conv, {"x": x}, wanted)
    found = executor().run(conv, {"x": x}, wanted)
    assert len(inner) == 3
    for name in wanted:
        np.testing.assert_array_equal(found[name], expanded[name])


@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_a_batch_is_its_samples_in_any_pieces(conv: Program, chunk: int) -> None:
    x = normal(2, 5, 4, 6, 6)
    each = np.concatenate([executor().run(conv, {"x": x[n : n + 1]})["y"] for n in range(5)])
    np.testing.assert_array_equal(executor(chunk).run(conv, {"x": x})["y"], each)


def test_counts_add_up_over_samples() -> None:
    program = lowered(quantized((1, 4, 6, 6), CONV, kernel(0, 5, 4, 3, 3)), NOISY)
    x = normal(3, 4, 4, 6, 6)
    whole = executor().execute(program, {"x": x})
    parts = [executor().execute(program, {"x": x[n : n + 1]}) for n in range(4)]
    (name,) = whole.counts
    assert whole.samples == 4
    assert whole.counts[name].macs == 4 * 36 * 36 * 5
    for fact in ("conversions", "rows_on", "saturated", "counts", "enabled"):
        assert getattr(whole.counts[name], fact) == sum(getattr(part.counts[name], fact) for part in parts), fact


def test_inner_values_can_be_given(conv: Program) -> None:
    x = normal(4, 1, 4, 6, 6)
    sums = next(conv.nodes("CrossbarMatMul")).outputs[0].name or ""
    given = executor().run(conv, {"x": x}, [sums])
    np.testing.assert_array_equal(executor().run(conv, given)["y"], executor().run(conv, {"x": x})["y"])


def test_programs_without_own_operators_go_to_the_other() -> None:
    program = quantized((2, 3), "y = Relu (d)", {})
    x = normal(5, 2, 3)
    both = [GraphExecutor(region_runner, whole).run(program, {"x": x})["y"] for whole in (None, OrtExecutor())]
    np.testing.assert_array_equal(both[0], both[1])


def test_feeds_that_do_not_fit_are_refused(conv: Program) -> None:
    with pytest.raises(DataError, match="one sample is"):
        executor().run(conv, {"x": normal(0, 1, 4, 5, 6)})
    with pytest.raises(DataError, match="'x' is needed"):
        executor().run(conv, {})
    with pytest.raises(DataError, match="no value 'z'"):
        executor().run(conv, {"x": normal(0, 1, 4, 6, 6)}, ["z"])
