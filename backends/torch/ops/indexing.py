"""Reading elements at places that a tensor names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from netwright.backends.torch.ops.elements import axis_view, from_front, movable, moved, single, whole_number
from netwright.backends.torch.table import torch_op


@torch_op("Gather", moves=("data",))
def gather(data: torch.Tensor, indices: torch.Tensor, *, axis: int = 0) -> torch.Tensor:
    """Slices at `indices` along an axis, which the shape of `indices` replaces; rows of a matrix are an embedding."""
    first = axis + data.ndim if axis < 0 else axis
    places = from_front(indices, data.shape[first])
    if first == 0 and data.ndim == 2 and data.is_floating_point():
        return F.embedding(places, data)
    if places.ndim == 1:
        return data.index_select(first, places)
    taken = data.index_select(first, places.reshape(-1))
    return taken.reshape([*data.shape[:first], *places.shape, *data.shape[first + 1 :]])


@torch_op("GatherElements", moves=("data",))
def gather_elements(data: torch.Tensor, indices: torch.Tensor, *, axis: int = 0) -> torch.Tensor:
    """The element at each index along an axis, at the same place in the others."""
    places = from_front(indices, data.shape[axis]).to(torch.int64)
    return moved(movable(data).gather(axis, places), data.dtype)


@torch_op("GatherND", moves=("data",))
def gather_nd(data: torch.Tensor, indices: torch.Tensor, *, batch_dims: int = 0) -> torch.Tensor:
    """Slices at the coordinates in the last axis of `indices`; the first `batch_dims` axes of both run along."""
    coordinates = indices.unbind(-1)
    rank = indices.ndim - 1
    batch = [axis_view(torch.arange(data.shape[axis], device=data.device), axis, rank) for axis in range(batch_dims)]
    return data[(*batch, *coordinates)]


@torch_op("OneHot", host=("depth",), frozen=("values",))
def one_hot(indices: torch.Tensor, depth: float | Sequence[float], values: torch.Tensor, *, axis: int = -1) -> torch.Tensor:
    """`values[1]` at each index, `values[0]` elsewhere, along a new axis of size `depth`.

    Indices count from the back where negative; those outside [-depth, depth) mark nothing.
    """
    count = whole_number(single(depth))
    rank = indices.ndim + 1
    place = axis + rank if axis < 0 else axis
    whole = indices.to(torch.int64)
    classes = axis_view(torch.arange(count, device=indices.device), place, rank)
    off, on = values.unbind()
    return torch.where(from_front(whole, count).unsqueeze(place) == classes, on, off)
