"""From real numbers to integers of a few bits and back, with gradients that pass straight through the rounding.

Rounding has derivative 0 almost everywhere, so it is taken for the identity in the backward pass (Bengio et al., arXiv
1308.3432), while clipping keeps its own derivative: 1 inside, 0 outside. What follows for a scale s shared by quantizer
and dequantizer is the learned step size of Esser et al. (arXiv 1902.08153): d ŵ / d s = round(w/s) − w/s inside, the bound
outside; without that paper's extra factor on the gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import onnx_ir
import torch
from torch import Tensor

from netwright.backends.torch.ops.casts import cast

_Onnx = onnx_ir.DataType

RANGES: Mapping[int, tuple[int, int, torch.dtype]] = MappingProxyType(
    {
        _Onnx.INT8.value: (-128, 127, torch.int8),
        _Onnx.UINT8.value: (0, 255, torch.uint8),
        _Onnx.INT16.value: (-32768, 32767, torch.int16),
        _Onnx.UINT16.value: (0, 65535, torch.uint16),
        _Onnx.INT32.value: (-(2**31), 2**31 - 1, torch.int32),
        _Onnx.INT4.value: (-8, 7, torch.int8),
        _Onnx.UINT4.value: (0, 15, torch.uint8),
        _Onnx.INT2.value: (-2, 1, torch.int8),
        _Onnx.UINT2.value: (0, 3, torch.uint8),
    }
)
"""By ONNX's code of an integer type: the smallest and largest number, and the type that holds it in torch."""

CODES: Mapping[torch.dtype, int] = MappingProxyType(
    {
        torch.int8: _Onnx.INT8.value,
        torch.uint8: _Onnx.UINT8.value,
        torch.int16: _Onnx.INT16.value,
        torch.uint16: _Onnx.UINT16.value,
        torch.int32: _Onnx.INT32.value,
        torch.float8_e4m3fn: _Onnx.FLOAT8E4M3FN.value,
        torch.float8_e4m3fnuz: _Onnx.FLOAT8E4M3FNUZ.value,
        torch.float8_e5m2: _Onnx.FLOAT8E5M2.value,
        torch.float8_e5m2fnuz: _Onnx.FLOAT8E5M2FNUZ.value,
    }
)
"""ONNX's code for the type of a zero point; integers of 4 and 2 bits lie in bytes and cannot be told from them."""

SMALL_FLOATS: frozenset[int] = frozenset(code for dtype, code in CODES.items() if dtype.is_floating_point)
"""ONNX's codes of 8-bit floats."""


def round_through(x: Tensor) -> Tensor:
    """A tensor rounded, halves to even; gradients pass as if it were not. Finite numbers only."""
    return x + (torch.round(x) - x).detach()


def to_integers(ratio: Tensor, zero_point: Tensor | None, *, low: int, high: int, carried: bool) -> Tensor:
    """`clip(round(ratio) + zero_point, low, high)` in floats; with `carried`, gradients pass where nothing is clipped.

    Args:
        ratio: real numbers in units of the step.
        zero_point: the integer that stands for 0; it broadcasts.
        low: the smallest integer.
        high: the largest.
        carried: whether gradients are to pass.
    """
    if zero_point is None:
        inside = ratio.clamp(low, high)
        return round_through(inside) if carried else torch.round(inside)
    zero = zero_point.to(ratio.dtype)
    inside = torch.clamp(ratio, low - zero, high - zero)
    return (round_through(inside) if carried else torch.round(inside)) + zero


def encoded(ratio: Tensor, zero_point: Tensor | None, code: int, *, carried: bool, saturate: bool = True) -> Tensor:
    """Numbers in units of the step as the type of a code: integers (in floats if `carried`) or 8-bit floats.

    Args:
        ratio: real numbers.
        zero_point: see `to_integers`; 8-bit floats have none.
        code: ONNX's, of the type.
        carried: keep integers in floats.
        saturate: 8-bit floats become their largest rather than infinite or NaN.
    """
    if code in SMALL_FLOATS:
        return cast(ratio, to=code, saturate=int(saturate))
    low, high, dtype = RANGES[code]
    found = to_integers(ratio, zero_point, low=low, high=high, carried=carried)
    return found if carried else found.to(dtype)


def bounded(ratio: Tensor, scale: Tensor, zero: Tensor, code: int, least: float | None, most: float | None) -> Tensor:
    """Numbers in units of a step, cut off at the ends of a type, or at two real numbers where those come first.

    One clamp of the whole tensor, since each costs several passes backward; where a real number is the end, it has a gradient for the step.

    Args:
        ratio: real numbers in units of the step, of any shape.
        scale: the step, of rank 0.
        zero: the integer of 0, in floats, of rank 0.
        code: ONNX's, of the integer type.
        least: real number below which is cut off.
        most: real number above which.
    """
    low, high, _ = RANGES[code]
    bottom, top = low - zero, high - zero
    if least is not None:
        bottom = torch.maximum(bottom, least / scale)
    if most is not None:
        top = torch.minimum(top, most / scale)
    return torch.clamp(ratio, bottom, top)


def spread(x: Tensor, shape: Sequence[int], axis: int, block_size: int) -> Tensor:
    """Scales or zero points so that they broadcast against a tensor of some shape.

    Args:
        x: one number for all; of rank 1, one for each index of `axis`; else one for each block along `axis`.
        shape: the tensor's.
        axis: see above.
        block_size: length of a block; 0 where there are none. The last block may be shorter.
    """
    if x.dim() == 0 or (x.dim() == 1 and (len(shape) == 0 or x.shape[0] == 1)):
        return x.reshape(())
    axis = axis % len(shape)
    if block_size and x.dim() == len(shape):
        wide = x.repeat_interleave(block_size, dim=axis)
        return wide if wide.shape[axis] == shape[axis] else wide.narrow(axis, 0, shape[axis])
    if x.dim() != 1:
        return x
    return x.reshape([-1 if place == axis else 1 for place in range(len(shape))])


def at_least_single(dtype: torch.dtype) -> torch.dtype:
    """A type for arithmetic on numbers of a type: float32, or float64 for that."""
    return torch.float64 if dtype == torch.float64 else torch.float32
