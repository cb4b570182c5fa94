"""From one element type to another."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import onnx_ir
import torch

from netwright.backends.torch.dtypes import DTYPES, torch_dtype
from netwright.backends.torch.table import torch_op

if TYPE_CHECKING:
    from collections.abc import Mapping

_Onnx = onnx_ir.DataType

TYPES: Mapping[int, torch.dtype] = MappingProxyType({int(code): dtype for code, dtype in DTYPES.items()})
"""torch's type by the number of ONNX's: an enumeration's members as keys would not compile."""

_NARROW: Mapping[int, tuple[int, int]] = MappingProxyType(
    {int(_Onnx.INT4): (-8, 16), int(_Onnx.UINT4): (0, 16), int(_Onnx.INT2): (-2, 4), int(_Onnx.UINT2): (0, 4)}
)
"""Lowest value, and how many there are, of integers that lie in bytes."""

_FLOAT8 = frozenset({torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz})
_INTEGERS = frozenset(dtype for code, dtype in DTYPES.items() if code.is_integer())


@torch_op("Cast", carries=("x",))
def cast(x: torch.Tensor, *, to: int, saturate: int = 1, round_mode: str = "up", carried: bool = False) -> torch.Tensor:
    """Elements in the type of a code of ONNX's.

    Floats become integers by dropping the fraction, integers wrap around. In floats of 8 bits what is out of range becomes
    the largest value with `saturate`, else infinity or NaN, as ONNX's table has it. With `carried`, floats become integers
    that stay in floats, and their gradient passes straight through.

    Args:
        x: of any shape.
        to: the code.
        saturate: see above.
        round_mode: to the powers of two of FLOAT8E8M0: `up`, `down` or `nearest`.
        carried: see above.

    Raises:
        NetwrightError: torch has no such type.
    """
    dtype = TYPES.get(to)
    if dtype is None:
        return x.to(torch_dtype(to))
    if carried and dtype in _INTEGERS and x.is_floating_point():
        return x + (_whole(x, to) - x).detach()
    if to in _NARROW:
        return _wrapped(x.to(torch.int64), to).to(dtype)
    if dtype in _FLOAT8:
        return _to_float8(x, dtype, saturate)
    if dtype == torch.float8_e8m0fnu:
        return _to_power_of_two(x, saturate, round_mode)
    return x.to(dtype)


@torch_op("CastLike", carries=("x",))
def cast_like(x: torch.Tensor, like: torch.Tensor, *, saturate: int = 1, round_mode: str = "up") -> torch.Tensor:
    """Elements in the type of another tensor, as `cast` does it; integers of 4 and 2 bits, which lie in bytes, count as bytes."""
    return cast(x, to=_CODES[like.dtype], saturate=saturate, round_mode=round_mode)


@torch_op("Identity", moves=("x",))
def identity(x: torch.Tensor) -> torch.Tensor:
    """The same."""
    return x


_CODES: Mapping[torch.dtype, int] = MappingProxyType({dtype: code for code, dtype in TYPES.items() if code not in _NARROW})


def _whole(x: torch.Tensor, to: int) -> torch.Tensor:
    """Floats without their fraction, within the type's range by wrapping around where floats hold that range exactly."""
    whole = torch.trunc(x)
    if to in _NARROW:
        return _wrapped(whole, to)
    limits = torch.iinfo(TYPES[to])
    return whole if limits.bits > 16 else torch.remainder(whole - limits.min, 1 << limits.bits) + limits.min


def _wrapped(x: torch.Tensor, to: int) -> torch.Tensor:
    low, count = _NARROW[to]
    return torch.remainder(x - low, count) + low


def _to_float8(x: torch.Tensor, dtype: torch.dtype, saturate: int) -> torch.Tensor:
    wide = x.to(torch.float32)
    if saturate:
        largest = torch.finfo(dtype).max
        return torch.clamp(wide, -largest, largest).to(dtype)
    if dtype == torch.float8_e4m3fn:  # torch saturates to this one; 464 is halfway to what would be the next value, and 448 is even
        wide = torch.where(torch.abs(wide) > 464, torch.nan, wide)
    return wide.to(dtype)


def _to_power_of_two(x: torch.Tensor, saturate: int, round_mode: str) -> torch.Tensor:
    """The exponents of float32 numbers, which are FLOAT8E8M0's bits, after rounding; the sign is dropped."""
    wide = x.to(torch.float32)
    bits = wide.view(torch.int32)
    exponent, fraction = (bits >> 23).bitwise_and(0xFF), bits.bitwise_and(0x7FFFFF)
    above = {
        "up": fraction > 0,
        "down": fraction < 0,
        "nearest": (fraction > 0x400000) | ((fraction == 0x400000) & (exponent > 0)),
    }[round_mode]
    rounded = exponent + above.to(torch.int32)
    if saturate:
        found = torch.where(torch.isnan(wide), 0xFF, torch.clamp(rounded, max=0xFE))
    else:
        found = torch.where(torch.isfinite(wide) & (wide >= 2.0**-127), rounded, 0xFF)
    return found.to(torch.uint8).view(torch.float8_e8m0fnu)
