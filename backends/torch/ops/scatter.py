"""Writing elements to places that a tensor names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch

from netwright.backends.torch.ops.elements import MOVED_AS, axis_view, from_front, movable, moved
from netwright.backends.torch.table import torch_op

REDUCTIONS: Mapping[str, str] = MappingProxyType({"add": "sum", "mul": "prod", "min": "amin", "max": "amax"})
"""ONNX's reductions as torch calls them."""


@torch_op("Scatter", moves=("data", "updates"))
@torch_op("ScatterElements", moves=("data", "updates"))
def scatter_elements(
    data: torch.Tensor, indices: torch.Tensor, updates: torch.Tensor, *, axis: int = 0, reduction: str = "none"
) -> torch.Tensor:
    """The data with `updates` written to, or combined with, the element at each index along an axis."""
    places = from_front(indices, data.shape[axis]).to(torch.int64)
    if reduction == "none":
        return moved(movable(data).scatter(axis, places, movable(updates)), data.dtype)
    return _combined(data, axis, places, updates, reduction)


@torch_op("ScatterND", moves=("data", "updates"))
def scatter_nd(data: torch.Tensor, indices: torch.Tensor, updates: torch.Tensor, *, reduction: str = "none") -> torch.Tensor:
    """The data with `updates` written to, or combined with, the slices at the coordinates in the last axis of `indices`."""
    coordinates = indices.unbind(-1)
    if reduction == "none":
        return moved(movable(data).index_put(coordinates, movable(updates)), data.dtype)
    if reduction == "add" and data.dtype not in MOVED_AS:
        return data.index_put(coordinates, updates, accumulate=True)
    rows = torch.zeros_like(coordinates[0])
    for axis, places in enumerate(coordinates):
        rows = rows * data.shape[axis] + from_front(places, data.shape[axis])
    flat = data.flatten(0, len(coordinates) - 1).unsqueeze(-1).flatten(1)
    places = rows.reshape(-1, 1).to(torch.int64).expand(-1, flat.shape[1])
    return _combined(flat, 0, places, updates.reshape(places.shape), reduction).reshape(data.shape)


@torch_op("TensorScatter", since=24, moves=("past_cache", "update"))
def tensor_scatter(
    past_cache: torch.Tensor, update: torch.Tensor, write_indices: torch.Tensor | None = None, *, axis: int = -2, mode: str = "linear"
) -> torch.Tensor:
    """A cache with new steps written along its sequence axis, from each sample's own place on.

    Args:
        past_cache: [batch, …, longest sequence, …].
        update: the same with fewer steps.
        write_indices: [batch]; zeros where None.
        axis: the sequence axis.
        mode: `circular` goes on at the first place after the last.
    """
    sequence = axis + update.ndim if axis < 0 else axis
    places = axis_view(torch.arange(update.shape[sequence], device=update.device), sequence, update.ndim)
    if write_indices is not None:
        places = places + axis_view(write_indices, 0, update.ndim)
    if mode == "circular":
        places = places % past_cache.shape[sequence]
    return moved(movable(past_cache).scatter(sequence, places.expand(update.shape), movable(update)), past_cache.dtype)


def _combined(data: torch.Tensor, axis: int, places: torch.Tensor, updates: torch.Tensor, reduction: str) -> torch.Tensor:
    """What `scatter_reduce` gives; types that it lacks are combined as int64."""
    if data.dtype in MOVED_AS:
        data, updates, dtype = data.to(torch.int64), updates.to(torch.int64), data.dtype
    else:
        dtype = data.dtype
    return data.scatter_reduce(axis, places, updates, REDUCTIONS[reduction]).to(dtype)
