"""Quantized operators on torch: exact values, and gradients straight through the rounding where integers are carried."""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np
import pytest
import torch
from onnx import TensorProto

from netwright.backends.torch.ops.quantized import dequantize_linear, quantize_linear, requantize
from netwright.backends.torch.ops.rounding import round_through
from tests.backends.torch.single import Array, assert_same, by_runtime, by_torch

UINT8 = torch.uint8


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1.0, shape).astype(np.float32)


def number(value: float, kind: type[np.generic] = np.float32) -> np.ndarray:
    return np.array(value, np.dtype(kind))


def whole(low: int, high: int, kind: type[np.generic], *shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high + 1, shape).astype(np.dtype(kind))


# ---- values --------------------------------------------------------------------------------------------------------

KINDS = [(np.int8, -128, 127), (np.uint8, 0, 255), (np.int16, -32768, 32767), (np.uint16, 0, 65535)]


@pytest.mark.parametrize(("kind", "low", "high"), KINDS)
def test_one_scale_for_all(kind: type[np.generic], low: int, high: int) -> None:
    x, scale, zero = normal(4, 6) * 3, number(8.0 / (high - low)), number((low + high + 1) // 2 + 3, kind)
    assert_same("QuantizeLinear", [x, scale, zero])
    assert_same("DequantizeLinear", [whole(low, high, kind, 4, 6), scale, zero])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_one_scale_for_each_index_of_an_axis(axis: int) -> None:
    x = normal(3, 4, 5)
    count = x.shape[axis]
    scales, zeros = np.abs(normal(count)) * 0.02 + 0.001, whole(-20, 20, np.int8, count)
    assert_same("QuantizeLinear", [x, scales, zeros], {"axis": axis})
    assert_same("DequantizeLinear", [whole(-128, 127, np.int8, 3, 4, 5), scales, zeros], {"axis": axis})


def test_one_scale_for_each_block() -> None:
    x, scales, zeros = normal(4, 12), np.abs(normal(4, 3)) * 0.02 + 0.001, whole(-9, 9, np.int8, 4, 3)
    attributes: dict[str, object] = {"axis": 1, "block_size": 4}
    assert_same("QuantizeLinear", [x, scales, zeros], attributes)
    assert_same("DequantizeLinear", [whole(-128, 127, np.int8, 4, 12), scales, zeros], attributes)


def test_the_last_block_may_be_shorter() -> None:
    x, scales = normal(2, 10), np.abs(normal(2, 3)) * 0.02 + 0.001
    whole_blocks = np.concatenate([x, np.zeros((2, 2), np.float32)], axis=1)
    attributes: dict[str, object] = {"axis": 1, "block_size": 4, "output_dtype": TensorProto.INT8}
    found = by_torch("QuantizeLinear", [x, scales], attributes)[0]
    torch.testing.assert_close(found, by_torch("QuantizeLinear", [whole_blocks, scales], attributes)[0][:, :10])


@pytest.mark.parametrize(("kind", "code", "low", "high"), [("int4", TensorProto.INT4, -8, 7), ("uint4", TensorProto.UINT4, 0, 15)])
def test_four_bits_lie_in_bytes_and_are_clipped_to_their_own_range(kind: str, code: int, low: int, high: int) -> None:
    x = normal(4, 6) * 3
    found = by_torch("QuantizeLinear", [x, number(0.25), number(1, np.int8 if low else np.uint8)], {"output_dtype": code})[0]
    expected = np.clip(np.rint(x / np.float32(0.25)) + 1, low, high)
    assert found.min() == low
    assert found.max() == high
    np.testing.assert_array_equal(found.numpy(), expected)
    packed = expected.astype(ml_dtypes.int4 if kind == "int4" else ml_dtypes.uint4)
    assert_same("DequantizeLinear", [packed, number(0.25), number(1).astype(packed.dtype)], constant=(0, 1, 2))


def test_halves_round_to_even() -> None:
    x = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5], np.float32)
    assert by_torch("QuantizeLinear", [x, number(1.0), number(0, np.int8)])[0].tolist() == [-2, -2, 0, 0, 2, 2, 4]
    assert_same("QuantizeLinear", [x, number(1.0), number(1, np.uint8)])


def test_a_half_precision_scale_divides_in_half_precision() -> None:
    x = (normal(64) * 3).astype(np.float16)
    scale = np.array(0.037, np.float16)
    found = by_torch("QuantizeLinear", [x, scale, number(0, np.int8)])[0]
    np.testing.assert_array_equal(found.numpy(), np.clip(np.rint(x / scale), -128, 127).astype(np.int8))
    single = by_torch("QuantizeLinear", [x, scale, number(0, np.int8)], {"precision": TensorProto.FLOAT}, opset=23)[0]
    exact = np.clip(np.rint(x.astype(np.float32) / scale.astype(np.float32)), -128, 127)
    np.testing.assert_array_equal(single.numpy(), exact.astype(np.int8))


def test_small_floats_saturate_unless_told_otherwise() -> None:
    x = np.array([1.0, 1000.0, -1e6], np.float32)
    code = {"output_dtype": TensorProto.FLOAT8E4M3FN}
    assert by_torch("QuantizeLinear", [x, number(1.0)], dict(code))[0].float().tolist() == [1.0, 448.0, -448.0]
    free = by_torch("QuantizeLinear", [x, number(1.0)], {**code, "saturate": 0})[0].float()
    assert free[0] == 1.0
    assert free[1:].isnan().all()


def test_dynamic_range() -> None:
    outputs = (True, True, True)
    for x in (normal(5, 7), np.abs(normal(5, 7)) + 0.5, -np.abs(normal(5, 7)), np.zeros((3, 3), np.float32)):
        assert_same("DynamicQuantizeLinear", [x], outputs=outputs)


@pytest.mark.parametrize("terms", [20, 3000])
@pytest.mark.parametrize("per_column", [False, True])
def test_sums_of_products_of_integers_are_exact(terms: int, per_column: bool) -> None:
    a, b = whole(200, 255, np.uint8, 2, 3, terms), whole(100, 127, np.int8, terms, 4)
    zeros = [number(2, np.uint8), whole(-128, -120, np.int8, 4) if per_column else number(-128, np.int8)]
    assert_same("MatMulInteger", [a, b, *zeros], rtol=0, atol=0)
    assert_same("MatMulInteger", [a, b], rtol=0, atol=0)


@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 2, 1, 0]])
def test_convolution_of_integers(pads: Sequence[int]) -> None:
    x, w = whole(0, 255, np.uint8, 2, 4, 7, 7), whole(0, 255, np.uint8, 6, 2, 3, 3)
    attributes: dict[str, object] = {"group": 2, "pads": list(pads), "strides": [2, 1]}
    assert_same("ConvInteger", [x, w, number(120, np.uint8), number(100, np.uint8)], attributes, rtol=0, atol=0)
    zeros = whole(0, 255, np.uint8, 6)
    found = by_torch("ConvInteger", [x, w, number(120, np.uint8), zeros], attributes)[0]
    shifted = (w.astype(np.int16) - zeros.astype(np.int16)[:, None, None, None]).astype(np.float64)
    left = torch.from_numpy(x.astype(np.float64) - 120)
    left = torch.nn.functional.pad(left, (pads[1], pads[3], pads[0], pads[2]))
    expected = torch.nn.functional.conv2d(left, torch.from_numpy(shifted), stride=(2, 1), groups=2)
    torch.testing.assert_close(found, expected.to(torch.int32))


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_quantized_product(kind: type[np.signedinteger | np.unsignedinteger]) -> None:
    low, high = np.iinfo(np.dtype(kind)).min, np.iinfo(np.dtype(kind)).max
    a, b = whole(low, high, kind, 3, 40), whole(-128, 127, np.int8, 40, 5)
    scales = [number(0.02), number(0.01), number(0.3)]
    zeros = [number((low + high) // 2, kind), number(3, np.int8), number((low + high) // 2 + 5, kind)]
    inputs = [a, scales[0], zeros[0], b, scales[1], zeros[1], scales[2], zeros[2]]
    assert_same("QLinearMatMul", inputs, rtol=0, atol=0)
    inputs[4], inputs[5] = np.abs(normal(5)) * 0.01 + 0.001, whole(-5, 5, np.int8, 5)
    assert_same("QLinearMatMul", inputs, constant=(3, 4, 5), rtol=0, atol=1)


@pytest.mark.parametrize("per_filter", [False, True])
def test_quantized_convolution(per_filter: bool) -> None:
    x, w = whole(0, 255, np.uint8, 2, 4, 7, 7), whole(-128, 127, np.int8, 6, 4, 3, 3)
    scale = np.abs(normal(6)) * 0.01 + 0.001 if per_filter else number(0.01)
    zero = np.zeros(6, np.int8) if per_filter else number(0, np.int8)
    bias = whole(-4000, 4000, np.int32, 6)
    inputs: list[Array] = [x, number(0.02), number(120, np.uint8), w, scale, zero, number(0.4), number(128, np.uint8), bias]
    assert_same("QLinearConv", inputs, {"pads": [1, 1, 1, 1]}, constant=(3, 4, 5, 8), rtol=0, atol=1)


# ---- integers that are carried in floats ----------------------------------------------------------------------------


def test_carried_integers_have_the_values_of_true_ones() -> None:
    x, scales, zeros = normal(4, 12) * 3, np.abs(normal(4, 3)) * 0.02 + 0.001, whole(-9, 9, np.int8, 4, 3)
    attributes: dict[str, object] = {"axis": 1, "block_size": 4}
    true = by_torch("QuantizeLinear", [x, scales, zeros], attributes)[0]
    carried = by_torch("QuantizeLinear", [x, scales, zeros], attributes, carried=True)[0]
    assert carried.dtype == torch.float32
    torch.testing.assert_close(carried, true.float(), rtol=0, atol=0)
    one, other = (by_torch("DequantizeLinear", [integers, scales, zeros], attributes)[0] for integers in (true, carried))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("op_type", ["MatMulInteger", "QLinearMatMul", "ConvInteger", "QLinearConv", "DynamicQuantizeLinear"])
def test_carried_operands_and_results_have_the_values_of_true_ones(op_type: str) -> None:
    matrices: list[Array] = [whole(0, 255, np.uint8, 3, 40), whole(-128, 127, np.int8, 40, 5)]
    kernels: list[Array] = [whole(0, 255, np.uint8, 1, 2, 5, 5), whole(-128, 127, np.int8, 3, 2, 3, 3)]
    zeros: list[Array] = [number(120, np.uint8), number(3, np.int8)]
    one, two = matrices if "MatMul" in op_type else kernels
    inputs: list[Array] = [one, two, *zeros]
    if op_type.startswith("QLinear"):
        inputs = [one, number(0.02), zeros[0], two, number(0.01), zeros[1], number(0.3), number(100, np.uint8)]
    if op_type == "DynamicQuantizeLinear":
        inputs = [normal(4, 4)]
    floats: list[Array | torch.Tensor] = [
        torch.from_numpy(array.astype(np.float32)) if array is not None and array.ndim > 1 else array for array in inputs
    ]
    true = by_torch(op_type, inputs)[0]
    carried = by_torch(op_type, floats, carried=True)[0]
    assert carried.is_floating_point()
    assert not true.is_floating_point()
    torch.testing.assert_close(carried, true.float(), rtol=0, atol=0)


def test_gradients_pass_the_rounding_where_nothing_is_clipped() -> None:
    x = torch.tensor([-1.0, 0.26, 0.49, 3.2, 40.0], requires_grad=True)
    scale, zero = torch.tensor(0.1), torch.tensor(0, dtype=torch.uint8)
    y = dequantize_linear(quantize_linear(x, scale, zero, carried=True), scale, zero)
    torch.testing.assert_close(y, torch.tensor([0.0, 0.3, 0.5, 3.2, 25.5]))
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.tensor([0.0, 1.0, 1.0, 1.0, 0.0]))


def test_the_gradient_of_a_scale_is_that_of_the_learned_step_size() -> None:
    x = torch.tensor([-9.0, -0.37, 0.26, 0.94, 7.0])
    scale = torch.tensor(0.25, requires_grad=True)
    zero = torch.tensor(0, dtype=torch.int8)
    code = TensorProto.INT4
    pieces = dequantize_linear(quantize_linear(x, scale, zero, output_dtype=code, carried=True), scale, zero)
    found = [float(torch.autograd.grad(piece, scale, retain_graph=True)[0]) for piece in pieces]
    ratio = x / 0.25
    inside = (ratio >= -8) & (ratio <= 7)
    expected = torch.where(inside, ratio.round() - ratio, ratio.clamp(-8, 7))
    torch.testing.assert_close(torch.tensor(found), expected)


@pytest.mark.parametrize(("shape", "axis", "block"), [((), 0, 0), ((3,), 0, 0), ((4,), 1, 0), ((3, 2), 1, 2)])
def test_latent_weights_are_rounded_and_trained(shape: tuple[int, ...], axis: int, block: int) -> None:
    latent = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    scale = (torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 0.1 + 0.1).requires_grad_()
    zero = torch.zeros(shape, dtype=torch.int8)
    q = requantize(latent, scale, zero, axis=axis, block_size=block, low=-8, high=7)
    assert q.detach().equal(q.detach().round())
    assert q.min() >= -8
    assert q.max() <= 7
    real = dequantize_linear(q, scale, zero, axis=axis, block_size=block)
    real.sum().backward()
    assert latent.grad is not None
    assert scale.grad is not None
    ratio = latent.detach() / dequantize_linear(torch.ones(3, 4), scale.detach(), None, axis=axis, block_size=block)
    torch.testing.assert_close(latent.grad, ((ratio >= -8) & (ratio <= 7)).float())
    assert scale.grad.shape == scale.shape


def test_weights_that_are_on_the_grid_stay_as_they_are() -> None:
    integers = torch.arange(-8, 8).float().reshape(2, 8)
    scale = torch.tensor([0.013, 0.7])
    again = requantize(integers * scale.unsqueeze(-1), scale, None, axis=0, block_size=0, low=-8, high=7)
    torch.testing.assert_close(again, integers, rtol=0, atol=0)


def test_rounding_through_keeps_integers_exact_and_gradients_whole() -> None:
    x = torch.tensor([0.5, 1.5, 2.49999, -0.5, 1e7 + 1, 123456.5], requires_grad=True)
    y = round_through(x)
    assert y.detach().equal(x.detach().round())
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.equal(torch.ones(6))


@pytest.mark.parametrize("op_type", ["MatMulInteger", "ConvInteger"])
def test_gradients_of_carried_products_are_those_of_real_ones(op_type: str) -> None:
    shapes = ((3, 5), (5, 2)) if op_type == "MatMulInteger" else ((1, 2, 4, 4), (3, 2, 3, 3))
    leaves = [torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_() for shape in shapes]
    zeros = [torch.tensor(3, dtype=UINT8), torch.tensor(1, dtype=torch.int8)]

    def run(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return by_torch(op_type, [a, b, *zeros], carried=True)[0]

    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)


def test_gradients_reach_operands_and_scales_of_a_quantized_product() -> None:
    a = torch.tensor([[10.0, 20.0], [200.0, 250.0]], requires_grad=True)
    b = torch.tensor([[3.0, -4.0], [5.0, 6.0]], requires_grad=True)
    scales = [torch.tensor(value, requires_grad=True) for value in (0.1, 0.2, 0.5)]
    zeros = [torch.tensor(0, dtype=UINT8), torch.tensor(0, dtype=torch.int8), torch.tensor(0, dtype=UINT8)]
    (y,) = by_torch("QLinearMatMul", [a, scales[0], zeros[0], b, scales[1], zeros[1], scales[2], zeros[2]], carried=True)
    assert y.tolist() == [[5.0, 3.0], [74.0, 28.0]]
    y.sum().backward()
    factor = 0.1 * 0.2 / 0.5
    assert a.grad is not None
    torch.testing.assert_close(a.grad, (b.detach().sum(1) * factor).expand(2, 2))
    assert all(scale.grad is not None for scale in scales)


def test_gradients_pass_a_dynamic_range_everywhere() -> None:
    x = torch.tensor([-1.0, 0.3, 0.77, 4.0], requires_grad=True)
    y, scale, zero = by_torch("DynamicQuantizeLinear", [x], outputs=(True, True, True), carried=True)
    ((y - zero) * scale).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.ones(4))


def test_a_quantized_network_of_two_layers_is_trained_through_its_integers() -> None:
    generator = torch.Generator().manual_seed(0)
    x, target = torch.randn(32, 6, generator=generator), torch.randn(32, 2, generator=generator)
    weights = [torch.randn(shape, generator=generator).mul(0.5).requires_grad_() for shape in ((6, 16), (16, 2))]
    scale, zero = torch.tensor(0.15), torch.tensor(0, dtype=torch.int8)

    def loss() -> torch.Tensor:
        hidden = x
        for weight in weights:
            q = requantize(weight, scale, None, axis=0, block_size=0, low=-8, high=7)
            hidden = dequantize_linear(quantize_linear(hidden, scale, zero, carried=True), scale, zero)
            hidden = torch.tanh(hidden @ dequantize_linear(q, scale, None))
        return (hidden - target).square().mean()

    optimizer = torch.optim.SGD(weights, lr=0.3)
    first = float(loss().detach())
    for _ in range(60):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert float(loss().detach()) < 0.7 * first


def test_the_runtime_agrees_on_a_dynamically_quantized_product() -> None:
    x, b = normal(4, 16), whole(-127, 127, np.int8, 16, 3)
    y, scale, zero = by_torch("DynamicQuantizeLinear", [x], outputs=(True, True, True))
    expected = by_runtime("DynamicQuantizeLinear", [x], outputs=(True, True, True))
    np.testing.assert_array_equal(y.numpy(), expected[0])
    found = by_torch("MatMulInteger", [y, b, zero])[0]
    np.testing.assert_array_equal(found.numpy(), by_runtime("MatMulInteger", [expected[0], b, expected[2]])[0])
    assert float(scale) == pytest.approx(float(expected[1]), rel=1e-6)
