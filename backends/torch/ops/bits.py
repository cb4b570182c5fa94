"""Integers as bits."""

from __future__ import annotations

import onnx_ir
import torch

from netwright.backends.torch.dtypes import torch_dtype
from netwright.backends.torch.ops.casts import TYPES
from netwright.backends.torch.ops.wide import WIDE, by_bits
from netwright.backends.torch.table import torch_op

_NARROW_SIGNED = {int(onnx_ir.DataType.INT4): 4, int(onnx_ir.DataType.INT2): 2}
_NARROW_UNSIGNED = {int(onnx_ir.DataType.UINT4): 4, int(onnx_ir.DataType.UINT2): 2}


@torch_op("BitwiseAnd")
def bitwise_and(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Bits set in both."""
    return by_bits(torch.bitwise_and, x, y)


@torch_op("BitwiseOr")
def bitwise_or(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Bits set in either."""
    return by_bits(torch.bitwise_or, x, y)


@torch_op("BitwiseXor")
def bitwise_xor(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Bits set in one of the two."""
    return by_bits(torch.bitwise_xor, x, y)


@torch_op("BitwiseNot")
def bitwise_not(x: torch.Tensor) -> torch.Tensor:
    """Every bit turned over."""
    return by_bits(torch.bitwise_not, x)


@torch_op("BitShift")
def bit_shift(x: torch.Tensor, y: torch.Tensor, *, direction: str) -> torch.Tensor:
    """`x · 2^y` (`LEFT`), high bits lost, or `⌊x / 2^y⌋` (`RIGHT`).

    A shift by less than none or by all bits leaves 0, or -1 of a negative `x` shifted right.
    """
    if x.dtype not in WIDE:
        return torch.bitwise_left_shift(x, y) if direction == "LEFT" else torch.bitwise_right_shift(x, y)
    if x.dtype != torch.uint64:
        wide, count = x.to(torch.int64), y.to(torch.int64)
        return (torch.bitwise_left_shift(wide, count) if direction == "LEFT" else torch.bitwise_right_shift(wide, count)).to(x.dtype)
    bits, count = x.view(torch.int64), y.view(torch.int64)
    return (torch.bitwise_left_shift(bits, count) if direction == "LEFT" else _logical_right_shift(bits, count)).view(torch.uint64)


@torch_op("BitCast")
def bit_cast(x: torch.Tensor, *, to: int) -> torch.Tensor:
    """The same bits read as another type of the same size; integers of 4 and 2 bits lie in bytes."""
    if to in _NARROW_UNSIGNED:
        return x.view(torch.uint8).bitwise_and((1 << _NARROW_UNSIGNED[to]) - 1)
    if to in _NARROW_SIGNED:
        top = 1 << (_NARROW_SIGNED[to] - 1)
        return x.view(torch.int8).bitwise_and(2 * top - 1).bitwise_xor(top) - top
    return x.view(TYPES[to] if to in TYPES else torch_dtype(to))


def _logical_right_shift(bits: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """The bits of a uint64 in int64 shifted right, zeros coming in; a count from 2⁶³ on reads as negative and leaves 0."""
    halved = (bits >> 1).bitwise_and(torch.iinfo(torch.int64).max)
    return torch.where(count == 0, bits, torch.bitwise_right_shift(halved, torch.where(count < 0, 64, count - 1)))
