"""Which elements: the largest, the distinct, those that a condition picks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch

from netwright.backends.torch.ops.wide import ordered, widened
from netwright.backends.torch.table import torch_op


@torch_op("ArgMax")
def argmax(data: torch.Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> torch.Tensor:
    """Index of the largest element along an axis: of equal ones the first, or the last with `select_last_index`."""
    comparable = ordered(data)
    if not select_last_index:
        return torch.argmax(comparable, dim=axis, keepdim=bool(keepdims))
    return data.shape[axis] - 1 - torch.argmax(torch.flip(comparable, (axis,)), dim=axis, keepdim=bool(keepdims))


@torch_op("ArgMin")
def argmin(data: torch.Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> torch.Tensor:
    """Index of the smallest element along an axis: of equal ones the first, or the last with `select_last_index`."""
    comparable = ordered(data)
    if not select_last_index:
        return torch.argmin(comparable, dim=axis, keepdim=bool(keepdims))
    return data.shape[axis] - 1 - torch.argmin(torch.flip(comparable, (axis,)), dim=axis, keepdim=bool(keepdims))


@torch_op("Hardmax")
def hardmax(x: torch.Tensor, *, axis: int = -1) -> torch.Tensor:
    """1 at the first largest element along an axis, 0 elsewhere."""
    return torch.zeros_like(x).scatter(axis, torch.argmax(x, dim=axis, keepdim=True), 1)


@torch_op("TopK", host=("k",))
def top_k(
    x: torch.Tensor, k: int | Sequence[int], *, axis: int = -1, largest: int = 1, sorted: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest (or smallest) elements along an axis, in order, with their indices; of equal ones the first come first.

    A stable sort gives that order, which `torch.topk` does not promise: O(n log n) along the axis. `sorted=0` leaves the order
    open, so it makes no difference.
    """
    count = k[0] if isinstance(k, Sequence) else k
    values, indices = torch.sort(x, dim=axis, descending=bool(largest), stable=True)
    return values.narrow(axis, 0, count), indices.narrow(axis, 0, count)


@torch_op("NonZero")
def nonzero(x: torch.Tensor) -> torch.Tensor:
    """Indices of elements that are not zero: [rank, count], in the order of memory."""
    return torch.nonzero(widened(x)).t()


@torch_op("Compress", moves=("x",))
def compress(x: torch.Tensor, condition: torch.Tensor, *, axis: int | None = None) -> torch.Tensor:
    """The slices along an axis (or the elements, in order) where a condition holds, which may be shorter than the axis."""
    source = x.reshape(-1) if axis is None else x
    return torch.index_select(source, 0 if axis is None else axis, torch.nonzero(condition).reshape(-1))


@torch_op("Unique")
def unique(x: torch.Tensor, *, axis: int | None = None, sorted: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Distinct elements, or slices along an axis; with where each stood first, which one each input is, and how many there were.

    In ascending order, or without `sorted` in that of their first appearance.
    """
    found = cast("tuple[torch.Tensor, ...]", torch.unique(x.detach(), sorted=True, return_inverse=True, return_counts=True, dim=axis))
    inverse, counts = found[1].reshape(-1), found[2]
    places = torch.arange(inverse.numel(), device=x.device)
    first = torch.full_like(counts, inverse.numel()).scatter_reduce(0, inverse, places, "amin")
    source = x.reshape(-1) if axis is None else x
    if sorted:
        return torch.index_select(source, axis or 0, first), first, inverse, counts
    order = torch.argsort(first)
    rank = torch.empty_like(order).scatter(0, order, torch.arange(order.numel(), device=x.device))
    return torch.index_select(source, axis or 0, first[order]), first[order], rank[inverse], counts[order]
