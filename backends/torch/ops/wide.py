"""Unsigned integers of 16, 32 and 64 bits, for which torch has few kernels: computed as signed ones and brought back."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SIGNED: Mapping[torch.dtype, torch.dtype] = MappingProxyType(
    {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
)
"""The signed type of the same size, for each unsigned one that needs help."""

WIDE = frozenset(SIGNED)
"""Types that need help."""

_TOP = torch.iinfo(torch.int64).min
"""The highest of 64 bits."""


def widened(x: torch.Tensor) -> torch.Tensor:
    """Wide unsigned integers as int64, others as they are.

    Of uint64 the bits stay: values of 2⁶³ and more turn negative, which sums and products do not mind.
    """
    if x.dtype == torch.uint64:
        return x.view(torch.int64)
    return x.to(torch.int64) if x.dtype in WIDE else x


def ordered(x: torch.Tensor) -> torch.Tensor:
    """Wide unsigned integers as int64 in the same order (of uint64 the highest bit is flipped), others as they are."""
    return x.view(torch.int64).bitwise_xor(_TOP) if x.dtype == torch.uint64 else widened(x)


def unordered(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What `ordered` made of a type, back in that type."""
    return x.bitwise_xor(_TOP).view(torch.uint64) if dtype == torch.uint64 else x.to(dtype)


def as_bits(x: torch.Tensor) -> torch.Tensor:
    """Wide unsigned integers as signed ones of the same bits, others as they are."""
    return x.view(SIGNED[x.dtype]) if x.dtype in WIDE else x


def by_value(function: Callable[..., torch.Tensor], *operands: torch.Tensor, **settings: object) -> torch.Tensor:
    """A function of wide unsigned integers, computed in int64; results wrap around."""
    return function(*(widened(operand) for operand in operands), **settings).to(operands[0].dtype)


def by_order(function: Callable[..., torch.Tensor], *operands: torch.Tensor, **settings: object) -> torch.Tensor:
    """A function that picks among wide unsigned integers by their order."""
    return unordered(function(*(ordered(operand) for operand in operands), **settings), operands[0].dtype)


def by_bits(function: Callable[..., torch.Tensor], *operands: torch.Tensor, **settings: object) -> torch.Tensor:
    """A function of the bits of wide unsigned integers, and of others as they are (a view as another type passes no gradient)."""
    if operands[0].dtype not in WIDE:
        return function(*operands, **settings)
    return function(*(as_bits(operand) for operand in operands), **settings).view(operands[0].dtype)


def unsigned_quotient(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The bits of ⌊x / y⌋ for the bits of two uint64 in int64, by half of `x` first (H. S. Warren, Hacker's Delight, 9-3)."""
    half = (x >> 1).bitwise_and(~_TOP)
    quotient = torch.div(half, torch.where(y < 0, 1, y), rounding_mode="floor") << 1
    rest = x - quotient * y
    quotient = quotient + (rest.bitwise_xor(_TOP) >= y.bitwise_xor(_TOP)).to(torch.int64)
    return torch.where(y < 0, (x.bitwise_xor(_TOP) >= y.bitwise_xor(_TOP)).to(torch.int64), quotient)
