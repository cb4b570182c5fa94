"""Joining tensors, cutting them into pieces, and repeating them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from netwright.backends.torch.ops.elements import axis_view, movable, moved
from netwright.backends.torch.table import torch_op


@torch_op("Concat", moves=("inputs",))
def concat(*inputs: torch.Tensor, axis: int) -> torch.Tensor:
    """Tensors one after another along an axis."""
    return torch.cat(inputs, dim=axis)


@torch_op("Split", host=("split",), moves=("data",))
def split(
    data: torch.Tensor, split: Sequence[int] | None = None, *, axis: int = 0, num_outputs: int = 0, wanted: tuple[bool, ...] = ()
) -> tuple[torch.Tensor, ...]:
    """Pieces along an axis: of the sizes given, else equal ones, the last smaller where they do not divide."""
    if split is not None:
        return cut(data, list(split), axis)
    count = num_outputs or len(wanted)
    return cut(data, -(-data.shape[axis] // count), axis)


@torch_op("Slice", host=("starts", "ends", "axes", "steps"), moves=("data",))
def slice_(
    data: torch.Tensor,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
) -> torch.Tensor:
    """Elements from `starts` to before `ends` in `steps`, along `axes`; a negative step goes backwards.

    Bounds count from the back where negative, and are clamped to the axis.
    """
    cuts = [slice(None)] * data.ndim
    backward: list[int] = []
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = place if axes is None else axes[place]
        step = 1 if steps is None else steps[place]
        if step > 0:
            cuts[axis] = slice(start, end, step)
        else:
            cuts[axis] = _reversed(start, end, step, data.shape[axis])
            backward.append(axis)
    taken = data[tuple(cuts)]
    return taken.flip(backward) if backward else taken


@torch_op("Tile", host=("repeats",), moves=("data",))
def tile(data: torch.Tensor, repeats: Sequence[int]) -> torch.Tensor:
    """The tensor repeated along each axis."""
    return data.repeat(list(repeats))


@torch_op("ReverseSequence", moves=("data",))
def reverse_sequence(data: torch.Tensor, sequence_lens: torch.Tensor, *, batch_axis: int = 1, time_axis: int = 0) -> torch.Tensor:
    """The first `sequence_lens[i]` steps of each sequence backwards, the rest as it is."""
    steps = axis_view(torch.arange(data.shape[time_axis], device=data.device), time_axis, data.ndim)
    lengths = axis_view(sequence_lens, batch_axis, data.ndim)
    places = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return moved(movable(data).gather(time_axis, places.expand(data.shape)), data.dtype)


def cut(data: torch.Tensor, sizes: int | list[int], axis: int) -> tuple[torch.Tensor, ...]:
    """`torch.split`, with its types."""
    return tuple(torch.split(data, sizes, axis))


def _reversed(start: int, end: int, step: int, size: int) -> slice:
    """The forward slice that holds the same elements as a backward one."""
    first = max(min(start + size if start < 0 else start, size - 1), 0)
    last = max(end + size if end < 0 else end, -1)
    count = max((first - last - step - 1) // -step, 0)
    return slice(first + (count - 1) * step, first + 1, -step) if count > 0 else slice(0, 0)
