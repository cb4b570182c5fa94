"""Products of integers: MatMulInteger, ConvInteger, QLinearMatMul, QLinearConv.

Sums are exact while nothing is carried: they run in float64, or in float32 where even the largest sum is below 2²⁴ (no more
than 258 products of two numbers of 9 bits). Carried in floats, for training, they run in float32, the fastest there is:
exact below 2²⁴, which a sum of more than 258 products may leave; its relative error then is that of any float32 product,
about 2⁻²⁴ a term and far below the step of what is quantized after it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from netwright.backends.torch.ops.convolution import conv
from netwright.backends.torch.ops.rounding import CODES, at_least_single, encoded
from netwright.backends.torch.table import torch_op

Ints = Sequence[int]

_EXACT_IN_SINGLE = 258
"""Largest number of products, each below 2¹⁶, that float32 adds exactly: 258 · 255² < 2²⁴."""


@torch_op("MatMulInteger", since=10, carries=("a", "b", "a_zero_point", "b_zero_point"))
def matmul_integer(
    a: Tensor, b: Tensor, a_zero_point: Tensor | None = None, b_zero_point: Tensor | None = None, *, carried: bool = False
) -> Tensor:
    """`(a − a_zero_point) (b − b_zero_point)`.

    Args:
        a: [..., M, K], integers of 8 bits, or floats that carry them.
        b: [..., K, N].
        a_zero_point: one number, one a row [M], or [..., M, 1].
        b_zero_point: one number, one a column [N], or [..., 1, N].
        carried: the result is to be floats, through which gradients pass.

    Returns:
        [..., M, N] in int32, or in floats.
    """
    found = product_of_integers(a, b, a_zero_point, b_zero_point, carried=carried)
    return found if carried else to_int32(found)


@torch_op("ConvInteger", since=10, carries=("x", "w", "x_zero_point", "w_zero_point"))
def conv_integer(
    x: Tensor,
    w: Tensor,
    x_zero_point: Tensor | None = None,
    w_zero_point: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints = (),
    group: int = 1,
    kernel_shape: Ints = (),
    pads: Ints = (),
    strides: Ints = (),
    carried: bool = False,
) -> Tensor:
    """Convolution of integers; padding stands for 0, which is x's zero point.

    Args:
        x: [batch, channels, *sizes], integers of 8 bits, or floats that carry them.
        w: [filters, channels / group, *kernel].
        x_zero_point: one number.
        w_zero_point: one number, or one a filter.
        auto_pad: see `spatial.window_of`; so for `dilations`, `pads`, `strides`.
        dilations: distance between taps.
        group: number of groups of channels.
        kernel_shape: that of `w`, which says it already.
        pads: beginnings, then ends.
        strides: distance between windows.
        carried: the result is to be floats, through which gradients pass.

    Returns:
        Integers in int32, or in floats.
    """
    work = sum_type(x, w, products=w[0].numel(), carried=carried)
    found = conv(
        centred(x, x_zero_point, work),
        centred(w, per_filter(w_zero_point, w), work),
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        pads=pads,
        strides=strides,
    )
    return found if carried else to_int32(found)


@torch_op("QLinearMatMul", since=10, carries=("a", "a_zero_point", "b", "b_zero_point"))
def qlinear_matmul(
    a: Tensor,
    a_scale: Tensor,
    a_zero_point: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero_point: Tensor,
    y_scale: Tensor,
    y_zero_point: Tensor,
    *,
    carried: bool = False,
) -> Tensor:
    """The product of two quantized matrices, quantized: `clip(round(sum · a_scale · b_scale / y_scale) + y_zero_point)`.

    Args:
        a: [..., M, K], integers of 8 bits, or floats that carry them.
        a_scale: one number, one a row [M], or [..., M, 1].
        a_zero_point: as a_scale.
        b: [..., K, N].
        b_scale: one number, one a column [N], or [..., 1, N].
        b_zero_point: as b_scale.
        y_scale: one number, or one a row.
        y_zero_point: as y_scale.
        carried: the result is to be floats, through which gradients pass, to the scales too.
    """
    total = product_of_integers(a, b, a_zero_point, b_zero_point, carried=carried)
    factor = per_row(a_scale, a) * b_scale / per_row(y_scale, a)
    return _requantized(total, factor, per_row(y_zero_point, a), carried=carried)


@torch_op("QLinearConv", since=10, carries=("x", "x_zero_point", "w", "w_zero_point", "b"))
def qlinear_conv(
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
    dilations: Ints = (),
    group: int = 1,
    kernel_shape: Ints = (),
    pads: Ints = (),
    strides: Ints = (),
    carried: bool = False,
) -> Tensor:
    """Convolution of quantized tensors, quantized: `clip(round((sum + b) · x_scale · w_scale / y_scale) + y_zero_point)`.

    Args:
        x: [batch, channels, *sizes], integers of 8 bits, or floats that carry them.
        x_scale: one number.
        x_zero_point: one number.
        w: [filters, channels / group, *kernel].
        w_scale: one number, or one a filter.
        w_zero_point: as w_scale.
        y_scale: one number.
        y_zero_point: one number.
        b: integers [filters], in steps of x_scale · w_scale.
        auto_pad: see `spatial.window_of`; so for `dilations`, `pads`, `strides`.
        dilations: distance between taps.
        group: number of groups of channels.
        kernel_shape: that of `w`, which says it already.
        pads: beginnings, then ends.
        strides: distance between windows.
        carried: the result is to be floats, through which gradients pass, to the scales too.
    """
    work = sum_type(x, w, products=w[0].numel(), carried=carried)
    total = conv(
        centred(x, x_zero_point, work),
        centred(w, per_filter(w_zero_point, w), work),
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        pads=pads,
        strides=strides,
    )
    if b is not None:  # int32: beyond what float32 holds
        total = (total if carried else total.double()) + b.to(total.dtype if carried else torch.float64).reshape(-1, *[1] * (x.dim() - 2))
    factor = x_scale * w_scale / y_scale
    return _requantized(total, factor.reshape(-1, *[1] * (x.dim() - 2)) if factor.numel() > 1 else factor, y_zero_point, carried=carried)


# ---- shared ------------------------------------------------------------------------------------------------------


def sum_type(a: Tensor, b: Tensor, *, products: int, carried: bool) -> torch.dtype:
    """The type in which sums of so many products are formed."""
    if carried:
        return torch.promote_types(*(at_least_single(one.dtype) for one in (a, b)))
    return torch.float32 if products <= _EXACT_IN_SINGLE else torch.float64


def centred(x: Tensor, zero_point: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Integers less their zero point, in floats."""
    wide = x.to(dtype)
    return wide if zero_point is None else wide - zero_point.to(dtype)


def per_row(x: Tensor, matrix: Tensor) -> Tensor:
    """One number a row [M] as a column, to broadcast against [..., M, K]."""
    return x.unsqueeze(-1) if x.dim() == 1 and x.shape[0] > 1 and matrix.dim() > 1 else x


def per_filter(x: Tensor | None, w: Tensor) -> Tensor | None:
    """One number a filter, to broadcast against a kernel [filters, ...]."""
    return x.reshape(-1, *[1] * (w.dim() - 1)) if x is not None and x.dim() == 1 else x


def to_int32(x: Tensor) -> Tensor:
    """Exact sums in int32, wrapping around as 32-bit sums do."""
    return x.to(torch.int64).to(torch.int32)


def product_of_integers(a: Tensor, b: Tensor, a_zero_point: Tensor | None, b_zero_point: Tensor | None, *, carried: bool) -> Tensor:
    """The product of integers less their zero points, in floats; see MatMulInteger."""
    work = sum_type(a, b, products=a.shape[-1], carried=carried)
    left = centred(a, None if a_zero_point is None else per_row(a_zero_point, a), work)
    return torch.matmul(left, centred(b, b_zero_point, work))


def _requantized(total: Tensor, factor: Tensor, zero_point: Tensor, *, carried: bool) -> Tensor:
    """Sums times a factor, as the zero point's type."""
    ratio = total.to(at_least_single(factor.dtype)) * factor
    return encoded(ratio, zero_point, CODES[zero_point.dtype], carried=carried)
