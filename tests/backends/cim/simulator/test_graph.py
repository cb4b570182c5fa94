"""Lowered programs as graphs: ONNX Runtime's values on their expansion, whatever the batch and the pieces."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.backends.cim.arch.model import Adc, Arch, Array
from netwright.backends.cim.mapping import build
from netwright.backends.cim.simulator.graph import GraphExecutor
from netwright.backends.cim.simulator.machine import Machine
from netwright.backends.cim.simulator.stages import stages
from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.errors import DataError
from netwright.ir.program import Program
from netwright.targets import region_runner
from tests.backends.cim.lowering.graphs import ARCH, kernel, lowered, normal, quantized

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


def test_a_value_of_no_elements_has_its_samples() -> None:
    body = "s = Slice (d, none, none, one)\ny = Identity (s)\nwd = DequantizeLinear <axis = 0> (w, ws, wz)\nz = Gemm <transB = 1> (d, wd)"
    constants = kernel(0, 4, 6, bias=False) | {"none": np.array([0]), "one": np.array([1])}
    program = lowered(quantized((1, 6), body, constants))
    assert executor(2).run(program, {"x": normal(4, 5, 6)}, ["y"])["y"].shape == (5, 0)


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


DEPTHWISE = """
    wd = DequantizeLinear <axis = 0> (w, ws, wz)
    bd = DequantizeLinear <axis = 0> (b, bs, bz)
    c = Conv <pads = [1, 1, 1, 1]> (d, wd, bd)
    q_c = QuantizeLinear (c, ys, yz)
    dc = DequantizeLinear (q_c, ys, yz)
    kd = DequantizeLinear <axis = 0> (k, ks, kz)
    kb = DequantizeLinear <axis = 0> (o, os, oz)
    e = Conv <pads = [1, 1, 1, 1], group = 16> (dc, kd, kb)
    q_y = QuantizeLinear (e, es, yz)
"""


def test_standard_operators_round_as_on_the_mapped_chip() -> None:
    """Constants' DequantizeLinear go along: ONNX Runtime rounds a grouped convolution of integers otherwise than one of floats.

    A step of the result is 128 of the sums', so that many lie half-way between two bytes.
    """
    rng = np.random.default_rng(6)
    scale = np.full(16, np.float32(0.013))
    more = {"k": rng.integers(-127, 128, (16, 1, 3, 3)).astype(np.int8), "ks": scale, "kz": np.zeros(16, np.int8)}
    more |= {"o": rng.integers(-3000, 3000, 16).astype(np.int32), "os": np.float32(0.11) * scale, "oz": np.zeros(16, np.int32)}
    more |= {"es": np.float32(0.11) * scale[0] * np.float32(128)}
    program = lowered(quantized((1, 4, 12, 12), DEPTHWISE, kernel(0, 16, 4, 3, 3) | more, out="q_y"))
    assert [node.op_type for node in program.nodes("Conv")] == ["Conv"], "the grouped one stays on vector units"
    (own, region) = [stage for stage in stages(program, ["x"], ["q_y"]) if stage.own or "q_y" in stage.outputs][-2:]
    assert own.own
    assert region.region is not None
    assert region.inputs == (own.own[-1].outputs[0].name,), "weights lie inside"
    mapped = Machine(build(program, ARCH, name="depthwise"), region_runner)
    for seed in range(4):
        x = {"x": normal(seed, 1, 4, 12, 12)}
        np.testing.assert_array_equal(executor().run(program, x)["q_y"], mapped.run(x)[0]["q_y"])


def test_carried_values_can_be_asked_for(conv: Program) -> None:
    """A DequantizeLinear between stages, with and without its readers."""
    x = normal(7, 1, 4, 6, 6)
    for wanted in (["dy"], ["dy", "y"], ["d", "dy", "y", "q"]):
        names = [name for name in wanted if name in {value.name for node in conv.graph for value in node.outputs}]
        found, expanded = executor().run(conv, {"x": x}, names), OrtExecutor().run(conv, {"x": x}, names)
        for name in names:
            np.testing.assert_array_equal(found[name], expanded[name])
