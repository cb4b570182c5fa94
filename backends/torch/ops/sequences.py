"""Sequences, which are Python lists of tensors, and optionals, which are None or what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch

from netwright.backends.torch.ops.elements import single
from netwright.backends.torch.ops.pieces import cut
from netwright.backends.torch.table import torch_op
from netwright.ir.errors import RunError

Element = TypeVar("Element", bound="torch.Tensor | list[torch.Tensor]")
"""What an optional may hold."""


@torch_op("SequenceConstruct")
def sequence_construct(*inputs: torch.Tensor) -> list[torch.Tensor]:
    """A sequence of the tensors."""
    return list(inputs)


@torch_op("SequenceEmpty", dtypes=("dtype",))
def sequence_empty(*, dtype: torch.dtype | None = None) -> list[torch.Tensor]:
    """An empty sequence."""
    return []


@torch_op("SequenceAt", host=("position",))
def sequence_at(sequence: list[torch.Tensor], position: int | Sequence[int]) -> torch.Tensor:
    """The tensor at a position, counted from the back where negative."""
    return sequence[single(position)]


@torch_op("SequenceInsert", host=("position",))
def sequence_insert(sequence: list[torch.Tensor], tensor: torch.Tensor, position: int | Sequence[int] | None = None) -> list[torch.Tensor]:
    """The sequence with a tensor before the position, or at the end."""
    place = len(sequence) if position is None else single(position)
    return [*sequence[:place], tensor, *sequence[place:]]


@torch_op("SequenceErase", host=("position",))
def sequence_erase(sequence: list[torch.Tensor], position: int | Sequence[int] | None = None) -> list[torch.Tensor]:
    """The sequence without the tensor at the position, or without the last."""
    place = len(sequence) - 1 if position is None else single(position) % len(sequence)
    return sequence[:place] + sequence[place + 1 :]


@torch_op("SequenceLength")
def sequence_length(sequence: list[torch.Tensor], *, device: torch.device | None = None) -> torch.Tensor:
    """Number of tensors."""
    return torch.tensor(len(sequence), dtype=torch.int64, device=device)


@torch_op("SplitToSequence", host=("split",))
def split_to_sequence(
    data: torch.Tensor, split: int | Sequence[int] | None = None, *, axis: int = 0, keepdims: int = 1
) -> list[torch.Tensor]:
    """Pieces along an axis: of the sizes given, of one size (the last may be smaller), or single elements."""
    if split is None and not keepdims:
        return list(data.unbind(axis))
    sizes = 1 if split is None else split
    return list(cut(data, list(sizes) if isinstance(sizes, Sequence) else sizes, axis))


@torch_op("ConcatFromSequence")
def concat_from_sequence(sequence: list[torch.Tensor], *, axis: int, new_axis: int = 0) -> torch.Tensor:
    """The tensors joined along an axis, or stacked along a new one."""
    return torch.stack(sequence, dim=axis) if new_axis else torch.cat(sequence, dim=axis)


@torch_op("Optional")
def optional(element: Element | None = None, *, type: object = None) -> Element | None:
    """An optional that holds the element, or nothing."""
    return element


@torch_op("OptionalHasElement")
def optional_has_element(element: torch.Tensor | list[torch.Tensor] | None = None, *, device: torch.device | None = None) -> torch.Tensor:
    """Whether there is an element."""
    return torch.tensor(element is not None, device=device)


@torch_op("OptionalGetElement")
def optional_get_element(element: Element | None) -> Element:
    """What the optional holds.

    Raises:
        RunError: it holds nothing.
    """
    if element is None:
        raise RunError("The optional holds nothing.", place="OptionalGetElement", remedy="Ask OptionalHasElement first.")
    return element
