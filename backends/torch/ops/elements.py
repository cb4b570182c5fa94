"""What several families of operators share: single numbers, indices that count from the back, types that torch only moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar, cast

import torch

N = TypeVar("N", int, float)

MOVED_AS: Mapping[torch.dtype, torch.dtype] = MappingProxyType(
    {
        torch.uint16: torch.int16,
        torch.uint32: torch.int32,
        torch.uint64: torch.int64,
        torch.float8_e4m3fn: torch.uint8,
        torch.float8_e4m3fnuz: torch.uint8,
        torch.float8_e5m2: torch.uint8,
        torch.float8_e5m2fnuz: torch.uint8,
        torch.float8_e8m0fnu: torch.uint8,
    }
)
"""Types that torch cannot gather or scatter, and those of equal width that it can."""


def single(value: N | Sequence[N]) -> N:
    """The number that stands alone or in a list of one."""
    return value[0] if isinstance(value, Sequence) else value


def whole_number(value: float) -> int:
    """A count that may be given as a float; torch's symbolic sizes stay as they are."""
    return int(value) if isinstance(value, float) else value


def listed(value: int | Sequence[int]) -> list[int]:
    """A list of what stands alone or in a list."""
    return list(value) if isinstance(value, Sequence) else [value]


def p_norm(x: torch.Tensor, p: int, axes: Sequence[int]) -> torch.Tensor:
    """(Σ |x|^p)^(1/p) over axes, which stay with size 1."""
    return cast("torch.Tensor", torch.linalg.vector_norm(x, p, list(axes), keepdim=True))


def movable(x: torch.Tensor) -> torch.Tensor:
    """The tensor's bits in a type that torch can move; `moved` turns them back."""
    return x.view(MOVED_AS[x.dtype]) if x.dtype in MOVED_AS else x


def moved(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What `movable` gave, in its own type again. `Tensor.view` of a type drops gradients, even where it is the tensor's own."""
    return x if x.dtype == dtype else x.view(dtype)


def from_front(indices: torch.Tensor, size: int) -> torch.Tensor:
    """Indices in [-size, size) as indices in [0, size)."""
    return torch.where(indices < 0, indices + size, indices)


def axis_view(x: torch.Tensor, axis: int, rank: int) -> torch.Tensor:
    """A tensor of rank 1 shaped so that it broadcasts along one axis of a tensor of some rank."""
    return x.reshape([-1 if place == axis else 1 for place in range(rank)])
