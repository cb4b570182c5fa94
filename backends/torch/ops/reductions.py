"""Reductions over axes; no axes mean all, or none with `noop_with_empty_axes`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch

from netwright.backends.torch.ops.wide import WIDE, by_order, by_value, widened
from netwright.backends.torch.table import torch_op

if TYPE_CHECKING:
    from collections.abc import Callable

Axes = int | Sequence[int] | None


@torch_op("ReduceSum", host=("axes",))
def reduce_sum(data: torch.Tensor, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> torch.Tensor:
    """The sum."""
    return _sum(data, _reduced_axes(data, axes, noop_with_empty_axes), keepdims)


@torch_op("ReduceMean", host=("axes",))
def reduce_mean(data: torch.Tensor, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> torch.Tensor:
    """The mean; of integers rounded towards zero."""
    dims = _reduced_axes(data, axes, noop_with_empty_axes)
    if not dims:
        return data
    if not data.is_floating_point():
        return torch.mean(data, dim=dims, keepdim=bool(keepdims), dtype=torch.float64).to(data.dtype)
    return torch.mean(data, dim=dims, keepdim=bool(keepdims))


@torch_op("ReduceProd", host=("axes",))
def reduce_product(data: torch.Tensor, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> torch.Tensor:
    """The product."""
    dims = _reduced_axes(data, axes, noop_with_empty_axes)
    result = widened(data)
    for dim in sorted((dim % data.ndim for dim in dims), reverse=True):
        result = torch.prod(result, dim=dim, keepdim=bool(keepdims), dtype=result.dtype)
    return result.to(data.dtype)


@torch_op("ReduceMax", host=("axes",))
def reduce_max(data: torch.Tensor, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> torch.Tensor:
    """The largest; of nothing, the smallest that the type holds."""
    return _extreme(torch.amax, data, _reduced_axes(data, axes, noop_with_empty_axes), keepdims, _limits(data.dtype)[0])


@torch_op("ReduceMin", host=("axes",))
def reduce_min(data: torch.Tensor, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> torch.Tensor:
    """The smallest; of nothing, the largest that the type holds."""
    return _extreme(torch.amin, data, _reduced_axes(data, axes, noop_with_empty_axes), keepdims, _limits(data.dtype)[1])


@torch_op("ReduceL1", host=("axes",))
def reduce_l1(data: torch.Tensor, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> torch.Tensor:
    """The sum of absolute values."""
    return _sum(data if data.dtype in WIDE else torch.abs(data), _reduced_axes(data, axes, noop_with_empty_axes), keepdims)


@torch_op("ReduceL2", host=("axes",))
def reduce_l2(data: torch.Tensor, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> torch.Tensor:
    """The square root of the sum of squares; the gradient at zero is zero."""
    dims = _reduced_axes(data, axes, noop_with_empty_axes)
    if not dims:
        return data if data.dtype in WIDE else torch.abs(data)
    return cast("torch.Tensor", torch.linalg.vector_norm(_as_float(data), dim=dims, keepdim=bool(keepdims))).to(data.dtype)


@torch_op("ReduceSumSquare", host=("axes",))
def reduce_sum_of_squares(data: torch.Tensor, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> torch.Tensor:
    """The sum of squares."""
    squares = by_value(torch.square, data) if data.dtype in WIDE else torch.square(data)
    return _sum(squares, _reduced_axes(data, axes, noop_with_empty_axes), keepdims)


@torch_op("ReduceLogSum", host=("axes",))
def reduce_log_of_sum(data: torch.Tensor, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> torch.Tensor:
    """The logarithm of the sum."""
    return torch.log(_sum(_as_float(data), _reduced_axes(data, axes, noop_with_empty_axes), keepdims)).to(data.dtype)


@torch_op("ReduceLogSumExp", host=("axes",))
def reduce_log_of_sum_of_exp(data: torch.Tensor, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> torch.Tensor:
    """`log Σ eˣ`, kept from overflow by taking the largest out."""
    dims = _reduced_axes(data, axes, noop_with_empty_axes)
    return torch.logsumexp(_as_float(data), dim=dims, keepdim=bool(keepdims)).to(data.dtype) if dims else data


def _reduced_axes(data: torch.Tensor, axes: Axes, noop: int) -> tuple[int, ...]:
    """The axes to reduce over, all where none are named unless `noop`."""
    named = () if axes is None else tuple(axes) if isinstance(axes, Sequence) else (axes,)
    return named if named or noop else tuple(range(data.ndim))


def _sum(data: torch.Tensor, dims: tuple[int, ...], keepdims: int) -> torch.Tensor:
    if not dims:
        return data
    if data.dtype in WIDE:
        return by_value(torch.sum, data, dim=dims, keepdim=bool(keepdims))
    return torch.sum(data, dim=dims, keepdim=bool(keepdims), dtype=data.dtype)


def _extreme(
    pick: Callable[..., torch.Tensor], data: torch.Tensor, dims: tuple[int, ...], keepdims: int, of_nothing: float
) -> torch.Tensor:
    if not dims:
        return data
    if data.numel() == 0:
        over = {dim % data.ndim for dim in dims}
        sizes = [1 if dim in over else size for dim, size in enumerate(data.shape) if keepdims or dim not in over]
        return torch.full(sizes, of_nothing, dtype=data.dtype, device=data.device)
    if data.dtype in WIDE:
        return by_order(pick, data, dim=dims, keepdim=bool(keepdims))
    return pick(data, dim=dims, keepdim=bool(keepdims))


def _limits(dtype: torch.dtype) -> tuple[float, float]:
    """The smallest and largest value of a type."""
    if dtype == torch.bool:
        return False, True
    if dtype.is_floating_point:
        return -torch.inf, torch.inf
    return torch.iinfo(dtype).min, torch.iinfo(dtype).max


def _as_float(data: torch.Tensor) -> torch.Tensor:
    return data if data.is_floating_point() else data.to(torch.float64)
