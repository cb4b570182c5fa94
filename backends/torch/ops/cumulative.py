"""Sums and products along an axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from netwright.backends.torch.ops.wide import WIDE, widened
from netwright.backends.torch.table import torch_op


@torch_op("CumSum", host=("axis",))
def cumulative_sum(x: torch.Tensor, axis: int | Sequence[int], *, exclusive: int = 0, reverse: int = 0) -> torch.Tensor:
    """Sums of all elements up to each one, itself left out if `exclusive`; from the end if `reverse`."""
    return _cumulative(x, torch.cumsum, 0, axis, exclusive, reverse)


@torch_op("CumProd", host=("axis",))
def cumulative_product(x: torch.Tensor, axis: int | Sequence[int], *, exclusive: int = 0, reverse: int = 0) -> torch.Tensor:
    """Products of all elements up to each one, itself left out if `exclusive`; from the end if `reverse`."""
    return _cumulative(x, torch.cumprod, 1, axis, exclusive, reverse)


def _cumulative(
    x: torch.Tensor, function: Callable[..., torch.Tensor], neutral: int, axis: int | Sequence[int], exclusive: int, reverse: int
) -> torch.Tensor:
    dim = axis[0] if isinstance(axis, Sequence) else axis
    if x.dtype in WIDE:
        return _cumulative(widened(x), function, neutral, dim, exclusive, reverse).to(x.dtype)
    if x.shape[dim] == 0:
        return x
    turned = torch.flip(x, (dim,)) if reverse else x
    if exclusive:
        first = torch.full_like(turned.narrow(dim, 0, 1), neutral)
        turned = torch.cat([first, turned.narrow(dim, 0, x.shape[dim] - 1)], dim=dim)
    result = function(turned, dim=dim, dtype=x.dtype)
    return torch.flip(result, (dim,)) if reverse else result
