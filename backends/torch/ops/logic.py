"""Comparisons, logic, and choosing by a condition."""

from __future__ import annotations

import torch

from netwright.backends.torch.ops.wide import ordered
from netwright.backends.torch.table import torch_op


@torch_op("Equal")
def equal(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`x = y`."""
    return torch.eq(x, y)


@torch_op("Less")
def less(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`x < y`."""
    return torch.lt(ordered(x), ordered(y))


@torch_op("LessOrEqual")
def less_or_equal(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`x ≤ y`."""
    return torch.le(ordered(x), ordered(y))


@torch_op("Greater")
def greater(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`x > y`."""
    return torch.gt(ordered(x), ordered(y))


@torch_op("GreaterOrEqual")
def greater_or_equal(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`x ≥ y`."""
    return torch.ge(ordered(x), ordered(y))


@torch_op("Not")
def logical_not(x: torch.Tensor) -> torch.Tensor:
    """Not x."""
    return torch.logical_not(x)


@torch_op("And")
def logical_and(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Both."""
    return torch.logical_and(x, y)


@torch_op("Or")
def logical_or(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Either."""
    return torch.logical_or(x, y)


@torch_op("Xor")
def logical_xor(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """One of the two."""
    return torch.logical_xor(x, y)


@torch_op("Where", moves=("x", "y"))
def where(condition: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`x` where the condition holds, else `y`."""
    return torch.where(condition, x, y)
