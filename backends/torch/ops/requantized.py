"""Layers between quantizers, computed as integer kernels compute them: what `netwright.backends.torch.fuse.fake_quantize` calls.

A kernel sums products of integers exactly, adds a bias in steps of both operands' product, multiplies by one float32 factor
`x_scale · w_scale / y_scale` and rounds, halves to even. Dequantized operands, a float product and a quantizer give the same real
numbers, and now and then, at a half, the other integer. In training both have the same gradients; so training takes the kernel's way,
and its integers are those of the folded model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from netwright.backends.torch.ops.convolution import conv
from netwright.backends.torch.ops.integer import centred, per_filter, sum_type
from netwright.backends.torch.ops.rounding import RANGES, at_least_single, bounded, round_through

Ints = Sequence[int]


def requantized_conv(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor | None,
    w: Tensor,
    w_scale: Tensor,
    w_zero: Tensor | None,
    y_scale: Tensor,
    y_zero: Tensor | None,
    b: Tensor | None = None,
    *,
    code: int,
    auto_pad: str = "NOTSET",
    dilations: Ints = (),
    group: int = 1,
    pads: Ints = (),
    strides: Ints = (),
    least: float | None = None,
    most: float | None = None,
    whole_bias: bool = False,
    carried: bool = False,
) -> Tensor:
    """Convolution of quantized tensors, quantized.

    Args:
        x: integers [batch, channels, *sizes], or floats that carry them.
        x_scale: one number; so are x_zero, y_scale, y_zero.
        x_zero: the integer of 0.
        w: integers [filters, channels / group, *kernel], or floats that carry them.
        w_scale: one number, or one a filter.
        w_zero: as w_scale.
        y_scale: step of the result.
        y_zero: the result's integer of 0.
        b: [filters], in real units, or in steps of `x_scale · w_scale` where `whole_bias`.
        code: ONNX's, of the result's type.
        auto_pad: see `spatial.window_of`; so for `dilations`, `pads`, `strides`.
        dilations: distance between taps.
        group: number of groups of channels.
        pads: beginnings, then ends.
        strides: distance between windows.
        least: real number below which the result is cut off before it is quantized.
        most: real number above which.
        whole_bias: see b.
        carried: the result is to be floats, through which gradients pass, to the scales too.
    """
    work = sum_type(x, w, products=w[0].numel(), carried=carried)
    left, right = centred(x, _one(x_zero), work), centred(w, None if w_zero is None else per_filter(w_zero, w), work)
    total = conv(left, right, auto_pad=auto_pad, dilations=dilations, group=group, pads=pads, strides=strides)
    step = x_scale.reshape(()) * (w_scale if w_scale.numel() > 1 else w_scale.reshape(()))
    total = _biased(total, b, step, axis=1, whole=whole_bias)
    return _requantized(total, _along(step, 1, x.dim()), y_scale, y_zero, code, least, most, carried=carried)


def requantized_product(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor | None,
    w: Tensor,
    w_scale: Tensor,
    w_zero: Tensor | None,
    y_scale: Tensor | None = None,
    y_zero: Tensor | None = None,
    b: Tensor | None = None,
    *,
    code: int = 0,
    transposed: bool = False,
    least: float | None = None,
    most: float | None = None,
    whole_bias: bool = False,
    real_bias: bool = False,
    carried: bool = False,
) -> Tensor:
    """The product of quantized matrices, quantized, or in real numbers where there is no step for the result.

    Args:
        x: integers [..., M, K], or floats that carry them.
        x_scale: one number; so are x_zero, y_scale, y_zero.
        x_zero: the integer of 0.
        w: integers [..., K, N], or [N, K] where `transposed`; or floats that carry them.
        w_scale: one number, or one a column [N].
        w_zero: as w_scale.
        y_scale: step of the result, where it is quantized.
        y_zero: the result's integer of 0.
        b: [N] or [1, …, N], in real units, or in steps of `x_scale · w_scale` where `whole_bias`.
        code: ONNX's, of the result's type.
        transposed: whether w comes transposed.
        least: see `requantized_conv`; so for `most`, `whole_bias`, `carried`.
        most: see there.
        whole_bias: see there.
        real_bias: the bias is added to the real product, and not as an integer to the sum.
        carried: see there.
    """
    work = sum_type(x, w, products=x.shape[-1], carried=carried)
    zero = w_zero if w_zero is None or w_zero.numel() == 1 or not transposed else w_zero.unsqueeze(-1)
    right = centred(w, zero if zero is None or zero.numel() > 1 else zero.reshape(()), work)
    total = torch.matmul(centred(x, _one(x_zero), work), right.t() if transposed else right)
    step = x_scale.reshape(()) * (w_scale if w_scale.numel() > 1 else w_scale.reshape(()))
    if real_bias or y_scale is None:
        summed = total if real_bias else _biased(total, b, step, axis=-1, whole=whole_bias)
        y = summed.to(at_least_single(step.dtype)) * step
        y = y + b.reshape(-1) if real_bias and b is not None else y
        return y if y_scale is None else _quantized(y, y_scale, y_zero, code, least, most, carried=carried)
    total = _biased(total, b, step, axis=-1, whole=whole_bias)
    return _requantized(total, step, y_scale, y_zero, code, least, most, carried=carried)


def _one(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.reshape(())


def _along(x: Tensor, axis: int, rank: int) -> Tensor:
    """One number for each index of an axis, to broadcast; a single number is as it is."""
    return x if x.dim() == 0 or axis == -1 else x.reshape(-1, *[1] * (rank - axis - 1))


def _biased(total: Tensor, b: Tensor | None, step: Tensor, *, axis: int, whole: bool) -> Tensor:
    """Sums with a bias, which is rounded to the sums' step where it is not yet; in float64, since a bias may have many steps."""
    if b is None:
        return total
    row = b.reshape(-1)
    steps = row if whole else _in_steps(row.double(), step.double())
    return total + _along(steps.to(total.dtype), axis, total.dim())


def _in_steps(b: Tensor, step: Tensor) -> Tensor:
    """A bias in whole steps, whose gradient is the bias's own: none reaches the step, of which a bias has thousands."""
    fixed = step.detach()
    whole = torch.round(b.detach() / fixed)
    return whole * (fixed / step) + (b - b.detach()) / fixed


def _requantized(
    total: Tensor, step: Tensor, scale: Tensor, zero: Tensor | None, code: int, least: float | None, most: float | None, *, carried: bool
) -> Tensor:
    """Sums in steps of one size as integers in steps of another."""
    scale = scale.reshape(())
    return _cut(total.to(at_least_single(step.dtype)) * (step / scale), scale, zero, code, least, most, carried=carried)


def _quantized(
    y: Tensor, scale: Tensor, zero: Tensor | None, code: int, least: float | None, most: float | None, *, carried: bool
) -> Tensor:
    """Real numbers in steps."""
    scale = scale.reshape(())
    return _cut(y / scale, scale, zero, code, least, most, carried=carried)


def _cut(ratio: Tensor, scale: Tensor, zero: Tensor | None, code: int, least: float | None, most: float | None, *, carried: bool) -> Tensor:
    """Numbers in units of the step, cut off at two real numbers, as integers."""
    origin = torch.zeros((), dtype=ratio.dtype, device=ratio.device) if zero is None else zero.reshape(()).to(ratio.dtype)
    inside = bounded(ratio, scale, origin, code, least, most)
    if carried:
        return round_through(inside) + origin
    return (torch.round(inside) + origin).to(RANGES[code][2])
