"""Operators of com.microsoft on quantized tensors: in real numbers between a dequantizer and a quantizer.

Gradients pass straight through the rounding where integers are carried (see `rounding`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from netwright.backends.torch.ops.integer import qlinear_conv
from netwright.backends.torch.ops.pooling import average_pool, max_pool
from netwright.backends.torch.ops.quantized import dequantize_linear, quantize_linear
from netwright.backends.torch.ops.rounding import CODES, encoded
from netwright.backends.torch.table import torch_op
from netwright.ir.schemas import CONTRIB_DOMAIN

Ints = Sequence[int]

_BINARY = ("a", "a_zero_point", "b", "b_zero_point")
_UNARY = ("x", "x_zero_point")


def real(x: Tensor, scale: Tensor, zero_point: Tensor | None) -> Tensor:
    """Integers as the real numbers that they stand for; one scale for all."""
    return dequantize_linear(x, scale.reshape(()), None if zero_point is None else zero_point.reshape(()))


def integers(y: Tensor, scale: Tensor, zero_point: Tensor | None, result: torch.dtype, *, carried: bool) -> Tensor:
    """Real numbers in integers of a type; one scale for all."""
    zero = None if zero_point is None else zero_point.reshape(())
    return encoded(y / scale.reshape(()), zero, CODES[result], carried=carried)


@torch_op("QLinearAdd", domain=CONTRIB_DOMAIN, carries=_BINARY)
def qlinear_add(
    a: Tensor,
    a_scale: Tensor,
    a_zero_point: Tensor | None,
    b: Tensor,
    b_scale: Tensor,
    b_zero_point: Tensor | None,
    c_scale: Tensor,
    c_zero_point: Tensor | None = None,
    *,
    result: torch.dtype = torch.uint8,
    carried: bool = False,
) -> Tensor:
    """`a + b`, broadcasting."""
    total = real(a, a_scale, a_zero_point) + real(b, b_scale, b_zero_point)
    return integers(total, c_scale, c_zero_point, result, carried=carried)


@torch_op("QLinearMul", domain=CONTRIB_DOMAIN, carries=_BINARY)
def qlinear_mul(
    a: Tensor,
    a_scale: Tensor,
    a_zero_point: Tensor | None,
    b: Tensor,
    b_scale: Tensor,
    b_zero_point: Tensor | None,
    c_scale: Tensor,
    c_zero_point: Tensor | None = None,
    *,
    result: torch.dtype = torch.uint8,
    carried: bool = False,
) -> Tensor:
    """`a · b`, broadcasting."""
    product = real(a, a_scale, a_zero_point) * real(b, b_scale, b_zero_point)
    return integers(product, c_scale, c_zero_point, result, carried=carried)


@torch_op("QLinearSigmoid", domain=CONTRIB_DOMAIN, carries=_UNARY)
def qlinear_sigmoid(
    x: Tensor,
    x_scale: Tensor,
    x_zero_point: Tensor | None,
    y_scale: Tensor,
    y_zero_point: Tensor | None = None,
    *,
    result: torch.dtype = torch.uint8,
    carried: bool = False,
) -> Tensor:
    """`σ(x)`."""
    return integers(torch.sigmoid(real(x, x_scale, x_zero_point)), y_scale, y_zero_point, result, carried=carried)


@torch_op("QLinearLeakyRelu", domain=CONTRIB_DOMAIN, carries=_UNARY)
def qlinear_leaky_relu(
    x: Tensor,
    x_scale: Tensor,
    x_zero_point: Tensor | None,
    y_scale: Tensor,
    y_zero_point: Tensor | None = None,
    *,
    alpha: float = 0.01,
    result: torch.dtype = torch.uint8,
    carried: bool = False,
) -> Tensor:
    """The same, times alpha where it is negative."""
    return integers(F.leaky_relu(real(x, x_scale, x_zero_point), alpha), y_scale, y_zero_point, result, carried=carried)


@torch_op("QLinearSoftmax", domain=CONTRIB_DOMAIN, carries=_UNARY)
def qlinear_softmax(
    x: Tensor,
    x_scale: Tensor,
    x_zero_point: Tensor | None,
    y_scale: Tensor,
    y_zero_point: Tensor,
    *,
    axis: int = -1,
    opset: int,
    result: torch.dtype = torch.uint8,
    carried: bool = False,
) -> Tensor:
    """Softmax along an axis; from the axis on, in one row, where the standard that is meant is older than 13."""
    values = real(x, x_scale, x_zero_point)
    weights = torch.softmax(values, dim=axis) if opset >= 13 else torch.softmax(values.flatten(axis), dim=-1).reshape(values.shape)
    return integers(weights, y_scale, y_zero_point, result, carried=carried)


@torch_op("QLinearAveragePool", domain=CONTRIB_DOMAIN, carries=_UNARY)
def qlinear_average_pool(
    x: Tensor,
    x_scale: Tensor,
    x_zero_point: Tensor | None,
    y_scale: Tensor,
    y_zero_point: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    channels_last: int = 0,
    count_include_pad: int = 0,
    kernel_shape: Ints,
    pads: Ints = (),
    strides: Ints = (),
    result: torch.dtype = torch.uint8,
    carried: bool = False,
) -> Tensor:
    """The mean of each window (see the standard's AveragePool); with `channels_last`, on [batch, *sizes, channels]."""
    values = _channels_second(real(x, x_scale, x_zero_point), channels_last)
    pooled = average_pool(
        values,
        auto_pad=auto_pad,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    return integers(_channels_back(pooled, channels_last), y_scale, y_zero_point, result, carried=carried)


@torch_op("QLinearGlobalAveragePool", domain=CONTRIB_DOMAIN, carries=_UNARY)
def qlinear_global_average_pool(
    x: Tensor,
    x_scale: Tensor,
    x_zero_point: Tensor,
    y_scale: Tensor,
    y_zero_point: Tensor,
    *,
    channels_last: int = 0,
    result: torch.dtype = torch.uint8,
    carried: bool = False,
) -> Tensor:
    """The mean of each channel; with `channels_last`, on [batch, *sizes, channels]."""
    axes = list(range(1, x.dim() - 1) if channels_last else range(2, x.dim()))
    return integers(real(x, x_scale, x_zero_point).mean(axes, keepdim=True), y_scale, y_zero_point, result, carried=carried)


@torch_op("QLinearConcat", domain=CONTRIB_DOMAIN, carries=("inputs",))
def qlinear_concat(
    y_scale: Tensor, y_zero_point: Tensor, *inputs: Tensor, axis: int, result: torch.dtype = torch.uint8, carried: bool = False
) -> Tensor:
    """Tensors along an axis, brought to one scale; `inputs` are triples of integers, scale and zero point."""
    parts = [real(*inputs[start : start + 3]) for start in range(0, len(inputs), 3)]
    return integers(torch.cat(parts, dim=axis), y_scale, y_zero_point, result, carried=carried)


@torch_op("QLinearWhere", domain=CONTRIB_DOMAIN, carries=("x", "x_zero_point", "y", "y_zero_point"))
def qlinear_where(
    condition: Tensor,
    x: Tensor,
    x_scale: Tensor,
    x_zero_point: Tensor,
    y: Tensor,
    y_scale: Tensor,
    y_zero_point: Tensor,
    z_scale: Tensor,
    z_zero_point: Tensor,
    *,
    result: torch.dtype = torch.uint8,
    carried: bool = False,
) -> Tensor:
    """Where the condition holds x, else y, brought to one scale."""
    chosen = torch.where(condition, real(x, x_scale, x_zero_point), real(y, y_scale, y_zero_point))
    return integers(chosen, z_scale, z_zero_point, result, carried=carried)


@torch_op("QLinearConv", domain=CONTRIB_DOMAIN, carries=("x", "x_zero_point", "w", "w_zero_point", "b"))
def qlinear_conv_in_layout(
    x: Tensor,
    x_scale: Tensor,
    x_zero_point: Tensor,
    w: Tensor,
    w_scale: Tensor,
    w_zero_point: Tensor,
    y_scale: Tensor,
    y_zero_point: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    channels_last: int = 0,
    dilations: Ints = (),
    group: int = 1,
    kernel_shape: Ints = (),
    pads: Ints = (),
    strides: Ints = (),
    carried: bool = False,
) -> Tensor:
    """As the standard's QLinearConv; with `channels_last`, on [batch, *sizes, channels], the kernel as ever."""
    y = qlinear_conv(
        _channels_second(x, channels_last),
        x_scale,
        x_zero_point,
        w,
        w_scale,
        w_zero_point,
        y_scale,
        y_zero_point,
        b,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        pads=pads,
        strides=strides,
        carried=carried,
    )
    return _channels_back(y, channels_last)


@torch_op("NhwcMaxPool", domain=CONTRIB_DOMAIN, moves=("x",))
def nhwc_max_pool(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints = (),
    kernel_shape: Ints,
    pads: Ints = (),
    strides: Ints = (),
) -> Tensor:
    """The largest element of each window on [batch, *sizes, channels]."""
    pooled = max_pool(
        _channels_second(x, 1),
        auto_pad=auto_pad,
        ceil_mode=ceil_mode,
        dilations=dilations,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    return _channels_back(pooled if isinstance(pooled, Tensor) else pooled[0], 1)


@torch_op("QuantizeLinear", domain=CONTRIB_DOMAIN, carries=("x", "y_zero_point"))
def quantize(
    x: Tensor, y_scale: Tensor, y_zero_point: Tensor | None = None, *, axis: int = 1, output_dtype: int = 0, carried: bool = False
) -> Tensor:
    """As the standard's QuantizeLinear, without blocks; `output_dtype` is the code of the result's type where the graph gives it."""
    return quantize_linear(x, y_scale, y_zero_point, axis=axis, output_dtype=output_dtype, carried=carried)


@torch_op("DequantizeLinear", domain=CONTRIB_DOMAIN, carries=("x", "x_zero_point"))
def dequantize(x: Tensor, x_scale: Tensor, x_zero_point: Tensor | None = None, *, axis: int = 1) -> Tensor:
    """As the standard's DequantizeLinear, without blocks."""
    return dequantize_linear(x, x_scale, x_zero_point, axis=axis)


def _channels_second(x: Tensor, channels_last: int) -> Tensor:
    return x.movedim(-1, 1) if channels_last else x


def _channels_back(x: Tensor, channels_last: int) -> Tensor:
    return x.movedim(1, -1) if channels_last else x
