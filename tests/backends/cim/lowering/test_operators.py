"""Quantized operators of their own are products too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netwright.backends.cim.arch.model import Adc, Arch
from netwright.ir.program import Program
from tests.backends.cim.lowering.graphs import ARCH, count, kernel, lowered, normal, outputs, quantized


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


WEIGHTS = [np.array(0, np.int8), np.array(-3, np.int8), np.array(128, np.uint8), np.array(100, np.uint8)]
COARSE = replace(ARCH, array=replace(ARCH.array, digit_bits=2, adc=Adc(bits=12, step=1)))
"""Its digits carry no sign."""


def integers(zero: np.ndarray, *shape: int) -> dict[str, np.ndarray]:
    limits = np.iinfo(zero.dtype)
    return {"w": np.random.default_rng(3).integers(limits.min, limits.max + 1, shape).astype(zero.dtype), "wz": zero}


@pytest.mark.parametrize("arch", [ARCH, COARSE], ids=["bits", "digits"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("zero", WEIGHTS, ids=str)
def test_integer_products_with_zero_points(zero: np.ndarray, signed: bool, arch: Arch) -> None:
    body = "i = MatMulInteger (q, w, xz, wz)\ny = Cast <to = 1> (i)"
    program = quantized((4, 20), body, integers(zero, 20, 6), signed=signed)
    onto = lowered(program, arch)
    assert (count(onto, "CrossbarMatMul"), count(onto, "MatMulInteger")) == (1, 0)
    x = normal(2, 4, 20)
    np.testing.assert_array_equal(outputs(onto, {"x": x})["y"], products(program, x, signed=signed))


@pytest.mark.parametrize("arch", [ARCH, COARSE], ids=["bits", "digits"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("zero", WEIGHTS, ids=str)
@pytest.mark.parametrize(("shape", "weight"), [((1, 3, 6, 7), (5, 3, 3, 3)), ((1, 3, 9), (5, 3, 3))], ids=["map", "line"])
def test_integer_convolutions(shape: tuple[int, ...], weight: tuple[int, ...], zero: np.ndarray, signed: bool, arch: Arch) -> None:
    pads = ", ".join("1" * 2 * (len(shape) - 2))
    body = f"i = ConvInteger <pads = [{pads}]> (q, w, xz, wz)\ny = Cast <to = 1> (i)"
    program = quantized(shape, body, integers(zero, *weight), signed=signed)
    onto = lowered(program, arch)
    assert (count(onto, "CrossbarMatMul"), count(onto, "ConvInteger")) == (1, 0)
    x = normal(2, *shape)
    np.testing.assert_array_equal(outputs(onto, {"x": x})["y"], products(program, x, signed=signed))


def products(program: Program, x: np.ndarray, *, signed: bool) -> np.ndarray:
    """The sums by numpy: ONNX Runtime's ConvInteger takes no int8 input."""
    low, high, zero = (-128, 127, -7) if signed else (0, 255, 12)
    left = np.clip(np.rint(x / np.float32(0.05)) + zero, low, high).astype(np.int64) - zero
    held, taken = (program.value(name).const_value for name in ("w", "wz"))
    assert held is not None
    assert taken is not None
    right = held.numpy().astype(np.int64) - taken.numpy().astype(np.int64)
    if right.ndim == 2:
        return (left @ right).astype(np.float32)
    axes = tuple(range(2, right.ndim))
    padded = np.pad(left, ((0, 0), (0, 0), *((1, 1) for _ in axes)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, right.shape[2:], axes)
    places = "hw"[: len(axes)]
    return np.einsum(f"nc{places}{places.upper()},oc{places.upper()}->no{places}", seen, right).astype(np.float32)


def test_an_integer_convolution_while_it_runs() -> None:
    """Its zero point is computed: what it pads with is not known, and what it does not pad can be."""
    body = "dq, ds, dz = DynamicQuantizeLinear (x)\ni = ConvInteger PADS (dq, w, dz)\ny = Cast <to = 1> (i)"
    weights = {"w": kernel(3, 5, 3, 3, 3)["w"]}
    program = quantized((1, 3, 6, 7), body.replace("PADS", ""), weights)
    onto, x = lowered(program), normal(2, 1, 3, 6, 7)
    assert count(onto, "CrossbarMatMul") == 1
    np.testing.assert_array_equal(outputs(onto, {"x": x})["y"], outputs(program, {"x": x})["y"])
    padded = lowered(quantized((1, 3, 6, 7), body.replace("PADS", "<pads = [1, 1, 1, 1]>"), weights))
    (reason,) = (miss.reason for miss in padded.ledger.misses if miss.rule == "crossbars")
    assert "windows padded by 1, 1, 1, 1 with a zero point that is computed" in reason


def test_zero_points_of_no_column_are_a_miss() -> None:
    body = "i = MatMulInteger (q, w, xz, wz)\ny = Cast <to = 1> (i)"
    weights = {"w": kernel(3, 2, 20, 6)["w"], "wz": np.array([1, 2, 3, 4, 5, 6], np.int8)}
    onto = lowered(quantized((2, 4, 20), body, weights))
    (reason,) = (miss.reason for miss in onto.ledger.misses if miss.rule == "crossbars")
    assert "6 zero points for weights of 2×20×6" in reason
