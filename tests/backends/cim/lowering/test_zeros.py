"""Weights with zero points: int8 around 0 where that fits, else sums of the input make up for what is left. All as ONNX Runtime has it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netwright.backends.cim.arch.model import Adc
from netwright.backends.cim.mapping import build
from netwright.backends.cim.program.model import Options
from netwright.backends.cim.simulator import Machine
from netwright.ir.program import Program, array
from tests.backends.cim.lowering.graphs import ARCH, count, lowered, normal, outputs, quantized
from tests.backends.cim.program.chips import on_onnxruntime

WIDE = replace(ARCH, array=replace(ARCH.array, digit_bits=2, adc=Adc(bits=12, step=1)))
"""Its digits carry no sign."""

STEP = np.float32(0.7)
"""Of the bytes that are made."""

MATMUL = "v = DequantizeLinear <axis = 1> (w, ws, wz)\nf = MatMul (d, v)\nq_y = QuantizeLinear (f, ys, yz)"
GEMM = MATMUL.replace("MatMul (d, v)", "Gemm <transB = 1> (d, v)").replace("axis = 1", "axis = 0")
CONV = "v = DequantizeLinear <axis = 0> (w, ws, wz)\nf = Conv <pads = [1, 1, 1, 1]> (d, v)\nq_y = QuantizeLinear (f, ys, yz)"
SHAPES = {MATMUL: ((16, 40), (40, 6), 1), GEMM: ((16, 40), (6, 40), 0), CONV: ((1, 5, 6, 7), (6, 5, 3, 3), 0)}

ZEROS = {
    "uint8 128": np.full(6, 128, np.uint8),
    "uint8 100": np.full(6, 100, np.uint8),
    "uint8 0": np.zeros(6, np.uint8),
    "uint8 one": np.array(131, np.uint8),
    "int8 −3": np.full(6, -3, np.int8),
    "int8 each": np.array([0, 5, -7, 127, -128, 1], np.int8),
    "uint8 each": np.array([0, 5, 250, 127, 128, 1], np.uint8),
}


def weights(zero: np.ndarray, shape: tuple[int, ...], outs: int) -> dict[str, np.ndarray]:
    """Weights over their type's whole range."""
    rng, limits = np.random.default_rng(3), np.iinfo(zero.dtype)
    scale = rng.uniform(0.005, 0.02, outs).astype(np.float32) if zero.ndim else np.float32(0.01)
    return {
        "w": rng.integers(limits.min, limits.max + 1, shape).astype(zero.dtype),
        "ws": np.asarray(scale),
        "wz": zero,
        "ys": np.array(STEP),
    }


def reasons(program: Program) -> list[str]:
    return [miss.reason for miss in program.ledger.misses if miss.rule == "crossbars"]


def held(program: Program) -> np.ndarray:
    """What the one product's arrays hold."""
    (node,) = program.nodes("CrossbarMatMul")
    found = array(node.inputs[1])
    assert found is not None
    return found


def layer(body: str, name: str, *, signed: bool = False) -> tuple[Program, dict[str, np.ndarray]]:
    shape, weight, _ = SHAPES[body]
    return quantized(shape, body, weights(ZEROS[name], weight, 6), signed=signed, out="q_y"), {"x": normal(7, *shape)}


def exact(body: str, name: str, x: np.ndarray, *, signed: bool) -> np.ndarray:
    """The bytes by numpy, with the factor in float32 as ONNX Runtime's integer kernels have it."""
    held, axis = weights(ZEROS[name], SHAPES[body][1], 6), SHAPES[body][2]
    low, high, zero = (-128, 127, -7) if signed else (0, 255, 12)
    left = np.clip(np.rint(x / np.float32(0.05)) + zero, low, high).astype(np.int64) - zero
    spread = held["wz"].astype(np.int64).reshape([-1 if place == axis else 1 for place in range(held["w"].ndim)])
    right = held["w"].astype(np.int64) - spread
    if body == CONV:
        padded = np.pad(left, ((0, 0), (0, 0), (1, 1), (1, 1)))
        sums = np.einsum("nchwij,ocij->nohw", np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3)), right)
    else:
        sums = left @ (right if body == MATMUL else right.T)
    factor = (np.float32(0.05) * held["ws"]) / STEP
    factor = factor.reshape(-1, 1, 1) if body == CONV and factor.ndim else factor
    return np.clip(np.rint(sums.astype(np.float32) * factor) + 5, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", ZEROS)
@pytest.mark.parametrize("body", SHAPES, ids=["MatMul", "Gemm", "Conv"])
def test_it_equals_the_integers(body: str, name: str, signed: bool) -> None:
    program, feeds = layer(body, name, signed=signed)
    wanted = exact(body, name, feeds["x"], signed=signed)
    assert len(np.unique(wanted)) > 20
    for arch in (ARCH, WIDE):
        onto = lowered(program, arch)
        assert count(onto, "CrossbarMatMul") == 1
        np.testing.assert_array_equal(outputs(onto, feeds)["q_y"], wanted)


@pytest.mark.parametrize("name", ["uint8 128", "uint8 one", "int8 −3"])
@pytest.mark.parametrize("body", SHAPES, ids=["MatMul", "Gemm", "Conv"])
def test_it_is_what_onnxruntime_makes_of_it(body: str, name: str) -> None:
    """Within one step: its kernel is one of floats where it has none of integers for these weights."""
    program, feeds = layer(body, name)
    found, wanted = (outputs(one, feeds)["q_y"].astype(int) for one in (lowered(program), program))
    assert np.abs(found - wanted).max() <= 1
    assert (found == wanted).mean() > 0.99


def test_inputs_are_summed_only_where_a_zero_point_is_left() -> None:
    columns = [held(lowered(layer(MATMUL, name)[0])).shape[1] for name in ("uint8 128", "uint8 100")]
    assert columns == [6, 7]


def test_a_chip_that_rounds_sums_does_not_multiply_what_it_loses() -> None:
    coarse = replace(ARCH, array=replace(ARCH.array, adc=Adc(bits=5, step=4)))
    (reason,) = reasons(lowered(layer(MATMUL, "uint8 100")[0], coarse))
    assert "of which up to 28 is left" in reason
    assert count(lowered(layer(MATMUL, "uint8 128")[0], coarse), "CrossbarMatMul") == 1


def test_a_zero_point_goes_into_the_weights_where_they_fit() -> None:
    program = quantized(
        (3, 40), MATMUL, {"w": np.full((40, 6), 90, np.uint8), "ws": np.ones(6, np.float32), "wz": np.full(6, 70, np.uint8)}, out="q_y"
    )
    onto = lowered(program)
    np.testing.assert_array_equal(held(onto), np.full((40, 6), 20, np.int8))


def test_groups_take_what_fits_and_say_what_does_not() -> None:
    body = CONV.replace("pads = [1, 1, 1, 1]", "group = 5")
    small = {"w": np.full((10, 1, 3, 3), 130, np.uint8), "ws": np.ones(10, np.float32), "wz": np.full(10, 128, np.uint8)}
    wide = {**small, "wz": np.full(10, 1, np.uint8)}
    fits, left = (reasons(lowered(quantized((1, 5, 6, 7), body, one, out="q_y"))) for one in (small, wide))
    assert "5 groups of 1 channel each" in fits[0]
    assert "weights in 5 groups with zero points that leave up to 127 as int8" in left[0]


@pytest.mark.parametrize("name", ["uint8 128", "uint8 100"])
@pytest.mark.parametrize("body", [MATMUL, CONV], ids=["MatMul", "Conv"])
def test_a_chip_computes_it(body: str, name: str) -> None:
    program, feeds = layer(body, name)
    chip = build(lowered(program), ARCH, Options(), name="one")
    made, _ = Machine(chip, on_onnxruntime).run(feeds)
    np.testing.assert_array_equal(next(iter(made.values())), exact(body, name, feeds["x"], signed=False))
