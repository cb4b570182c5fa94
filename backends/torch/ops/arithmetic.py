"""Arithmetic on two tensors and more, with broadcasting; integers wrap around."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import cast

import torch
import torch.nn.functional as F

from netwright.backends.torch.ops.wide import WIDE, by_order, by_value, ordered, unordered, unsigned_quotient
from netwright.backends.torch.table import torch_op


@torch_op("Add")
def add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`x + y`."""
    return by_value(torch.add, x, y) if x.dtype in WIDE else torch.add(x, y)


@torch_op("Sub")
def subtract(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`x - y`."""
    return by_value(torch.sub, x, y) if x.dtype in WIDE else torch.sub(x, y)


@torch_op("Mul")
def multiply(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`x · y`."""
    return by_value(torch.mul, x, y) if x.dtype in WIDE else torch.mul(x, y)


@torch_op("Div")
def divide(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`x / y`; integers are rounded towards zero."""
    if x.is_floating_point():
        return torch.div(x, y)
    if x.dtype in WIDE:
        return by_value(unsigned_quotient, x, y)
    return torch.div(x, y, rounding_mode="trunc")


@torch_op("Mod")
def modulo(x: torch.Tensor, y: torch.Tensor, *, fmod: int = 0) -> torch.Tensor:
    """The remainder of x / y, with the sign of `y` (as in Python), or of `x` with `fmod` (as in C)."""
    if x.dtype in WIDE:
        return by_value(_unsigned_remainder, x, y)
    return torch.fmod(x, y) if fmod else torch.remainder(x, y)


@torch_op("Pow", frozen=("exponent",), numbers=("exponent",))
def power(x: torch.Tensor, exponent: torch.Tensor | float) -> torch.Tensor:
    """`x ^ exponent`, which may be of another type or a number; the result has the type of `x`."""
    if isinstance(exponent, torch.Tensor):
        exponent = exponent.to(torch.int64) if exponent.dtype in WIDE else exponent
    base = x.to(torch.int64) if x.dtype in WIDE else x
    return torch.pow(base, exponent).to(x.dtype)


@torch_op("Max")
def maximum(*tensors: torch.Tensor) -> torch.Tensor:
    """The largest, element by element; NaN where one is NaN."""
    pick = torch.maximum
    return reduce(lambda x, y: by_order(pick, x, y) if x.dtype in WIDE else pick(x, y), tensors)


@torch_op("Min")
def minimum(*tensors: torch.Tensor) -> torch.Tensor:
    """The smallest, element by element; NaN where one is NaN."""
    pick = torch.minimum
    return reduce(lambda x, y: by_order(pick, x, y) if x.dtype in WIDE else pick(x, y), tensors)


@torch_op("Sum")
def sum_of_tensors(*tensors: torch.Tensor) -> torch.Tensor:
    """The sum, element by element."""
    return reduce(torch.add, tensors)


@torch_op("Mean")
def mean_of_tensors(*tensors: torch.Tensor) -> torch.Tensor:
    """The mean, element by element."""
    return reduce(torch.add, tensors) / len(tensors)


@torch_op("Clip", frozen=("low", "high"), numbers=("low", "high"), moves=("x",))
def clip(x: torch.Tensor, low: torch.Tensor | float | None = None, high: torch.Tensor | float | None = None) -> torch.Tensor:
    """Values within bounds; all are `high` where `low` exceeds it.

    Bounds that are numbers cost less than those in tensors; one after the other, because the backward pass of both together takes
    torch four times as long. Between two numbers no gradient passes at the bounds themselves, as in torch's ReLU6 and Hardtanh.
    """
    if isinstance(low, float) and isinstance(high, float) and low < high and x.is_floating_point():
        return F.hardtanh(x, low, high)
    if x.dtype in WIDE:
        return unordered(clip(ordered(x), _comparable(low, x), _comparable(high, x)), x.dtype)
    clamp = cast("Callable[..., torch.Tensor]", torch.clamp)
    raised = x if low is None else clamp(x, min=low)
    return raised if high is None else clamp(raised, max=high)


def _unsigned_remainder(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x - unsigned_quotient(x, y) * y


def _comparable(bound: torch.Tensor | float | None, x: torch.Tensor) -> torch.Tensor | None:
    """A bound in the form that `ordered` gives to `x`."""
    if bound is None:
        return None
    return ordered(bound if isinstance(bound, torch.Tensor) else torch.tensor(bound, dtype=x.dtype, device=x.device))
