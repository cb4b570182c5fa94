"""QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear: the standard's values, and gradients where integers are carried."""

from __future__ import annotations

import torch
from torch import Tensor

from netwright.backends.torch.ops.rounding import CODES, at_least_single, encoded, spread, to_integers
from netwright.backends.torch.table import torch_op

_UINT8 = CODES[torch.uint8]
_DIVIDES = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})


@torch_op("QuantizeLinear", dtypes=("precision",), carries=("x", "y_zero_point"))
def quantize_linear(
    x: Tensor,
    y_scale: Tensor,
    y_zero_point: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: torch.dtype | None = None,
    saturate: int = 1,
    carried: bool = False,
) -> Tensor:
    """`clip(round(x / scale) + zero_point)`, halves to even.

    Args:
        x: any shape.
        y_scale: one number, one for each index of `axis`, or one for each block along it.
        y_zero_point: as y_scale; 0 by default.
        axis: see above.
        block_size: length of a block; 0 where there are none.
        output_dtype: ONNX's code of the result's type; by default the zero point's, else uint8. Needed for 4 and 2 bits, which
            lie in bytes.
        precision: type in which to divide; by default the scale's.
        saturate: 8-bit floats become their largest rather than infinite or NaN.
        carried: the integers are to be floats, through which gradients pass to x and the scale.
    """
    code = output_dtype or (_UINT8 if y_zero_point is None else CODES.get(y_zero_point.dtype, _UINT8))
    work = precision or (y_scale.dtype if y_scale.dtype in _DIVIDES else at_least_single(x.dtype))
    ratio = x.to(work) / spread(y_scale, x.shape, axis, block_size).to(work)
    zero = None if y_zero_point is None else spread(y_zero_point, x.shape, axis, block_size)
    return encoded(ratio.to(at_least_single(work)), zero, code, carried=carried, saturate=bool(saturate))


@torch_op("DequantizeLinear", dtypes=("output_dtype",), carries=("x", "x_zero_point"))
def dequantize_linear(
    x: Tensor,
    x_scale: Tensor,
    x_zero_point: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: torch.dtype | None = None,
) -> Tensor:
    """`(x − zero_point) · scale`.

    Args:
        x: integers, or floats that carry them; 8-bit floats.
        x_scale: one number, one for each index of `axis`, or one for each block along it.
        x_zero_point: as x_scale; 0 by default.
        axis: see above.
        block_size: length of a block; 0 where there are none.
        output_dtype: type of the result; by default the scale's.
    """
    work = at_least_single(x_scale.dtype)
    value = x.to(work)
    if x_zero_point is not None:
        value = value - spread(x_zero_point.to(work), x.shape, axis, block_size)
    return (value * spread(x_scale, x.shape, axis, block_size).to(work)).to(output_dtype or x_scale.dtype)


@torch_op("DynamicQuantizeLinear", since=11)
def dynamic_quantize_linear(x: Tensor, *, carried: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Integers of 8 bits for x, their range from its own least and greatest number (and 0).

    Args:
        x: any shape.
        carried: the integers are to be floats, through which gradients pass.

    Returns:
        The integers, the scale and the zero point.
    """
    y, scale, zero = rounded_by_range(x)
    return (y, scale, zero) if carried else (y.to(torch.uint8), scale, zero.to(torch.uint8))


def rounded_by_range(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Integers from 0 to 255 for x by its own range, the scale and the zero point, all in floats.

    Gradients take scale and zero point for constants, and pass everywhere: all of x is within its range.
    """
    scale, zero = dynamic_range(x.detach())
    ratio = x / scale
    exact = to_integers(ratio.detach(), zero, low=0, high=255, carried=False)
    return (ratio + (exact - ratio.detach()) if ratio.requires_grad else exact), scale, zero


def dynamic_range(x: Tensor, dims: tuple[int, ...] | None = None) -> tuple[Tensor, Tensor]:
    """Scale and zero point (in floats) that fit x into uint8.

    Args:
        x: any shape.
        dims: one range for each index of the other dimensions, kept with size 1; by default one for all.
    """
    low, high = (x.amin(), x.amax()) if dims is None else (x.amin(dims, keepdim=True), x.amax(dims, keepdim=True))
    low, high = low.clamp(max=0.0), high.clamp(min=0.0)
    scale = torch.where(high == low, torch.ones_like(high), (high - low) / 255.0)
    return scale, torch.round((-low / scale).clamp(0.0, 255.0))


def requantize(latent: Tensor, scale: Tensor, zero_point: Tensor | None, *, axis: int, block_size: int, low: int, high: int) -> Tensor:
    """Integers, carried in floats, from latent weights in real units: `clip(round(latent / scale) + zero_point, low, high)`.

    Gradients pass straight through the rounding where nothing is clipped: to the latent weights, and to the scale.

    Args:
        latent: float weights.
        scale: one number, one for each index of `axis`, or one for each block along it.
        zero_point: as scale; 0 by default.
        axis: see above.
        block_size: length of a block; 0 where there are none.
        low: the smallest integer.
        high: the largest.
    """
    work = at_least_single(latent.dtype)
    ratio = latent.to(work) / spread(scale, latent.shape, axis, block_size).to(work)
    zero = None if zero_point is None else spread(zero_point, latent.shape, axis, block_size)
    return to_integers(ratio, zero, low=low, high=high, carried=True)
