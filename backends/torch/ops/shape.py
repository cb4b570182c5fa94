"""Operators that change how a tensor is read, not what it holds; and those that ask for its shape."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from netwright.backends.torch.ops.elements import listed
from netwright.backends.torch.table import torch_op


@torch_op("Shape")
def shape(data: torch.Tensor, *, start: int = 0, end: int | None = None, device: torch.device | None = None) -> torch.Tensor:
    """Sizes of the axes from `start` to before `end`, as a tensor."""
    return torch.tensor(list(data.shape)[start:end], dtype=torch.int64, device=device)


@torch_op("Size")
def size(data: torch.Tensor, *, device: torch.device | None = None) -> torch.Tensor:
    """Number of elements, as a tensor."""
    return torch.tensor(data.numel(), dtype=torch.int64, device=device)


@torch_op("Reshape", host=("shape",), moves=("data",))
def reshape(data: torch.Tensor, shape: Sequence[int], *, allowzero: int = 0) -> torch.Tensor:
    """The same elements in another shape; -1 is inferred, 0 keeps the input's size unless `allowzero`."""
    if allowzero:
        return data.reshape(list(shape))
    return data.reshape([data.shape[axis] if size == 0 else size for axis, size in enumerate(shape)])


@torch_op("Flatten", moves=("data",))
def flatten(data: torch.Tensor, *, axis: int = 1) -> torch.Tensor:
    """A matrix: the axes before `axis` are its rows, the others its columns."""
    first = axis + data.ndim if axis < 0 else axis
    if first == 0:
        return data.flatten().unsqueeze(0)
    if first == data.ndim:
        return data.flatten().unsqueeze(1)
    return data.flatten(0, first - 1).flatten(1)


@torch_op("Squeeze", host=("axes",), moves=("data",))
def squeeze(data: torch.Tensor, axes: int | Sequence[int] | None = None) -> torch.Tensor:
    """Without the named axes of size 1; without all of them where none is named."""
    return data.squeeze() if axes is None else data.squeeze(tuple(listed(axes)))


@torch_op("Unsqueeze", host=("axes",), moves=("data",))
def unsqueeze(data: torch.Tensor, axes: int | Sequence[int]) -> torch.Tensor:
    """With new axes of size 1, at the places that they have in the result."""
    places = listed(axes)
    rank = data.ndim + len(places)
    for place in sorted(place + rank if place < 0 else place for place in places):
        data = data.unsqueeze(place)
    return data


@torch_op("Transpose", moves=("data",))
def transpose(data: torch.Tensor, *, perm: Sequence[int] | None = None) -> torch.Tensor:
    """Axes in another order; reversed where none is given."""
    return data.permute(list(perm) if perm is not None else list(range(data.ndim))[::-1])


@torch_op("Expand", host=("shape",), moves=("data",))
def expand(data: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Broadcast against a shape, in which 1 keeps the input's size."""
    aligned = [1] * (data.ndim - len(shape)) + list(shape)
    added = len(aligned) - data.ndim
    return data.expand([-1 if size == 1 and place >= added else size for place, size in enumerate(aligned)])
