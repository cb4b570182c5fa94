"""Nested states (an optimizer's) as JSON with the tensors put apart, and back: nothing has to be pickled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import torch

from netwright.training.errors import CheckpointError

if TYPE_CHECKING:
    from netwright.training.checkpoints import Json

_TENSOR, _TUPLE, _PAIRS = "$tensor", "$tuple", "$pairs"


def take_apart(state: object, tensors: dict[str, torch.Tensor], path: str = "") -> Json:
    """The state as JSON; its tensors go into `tensors`, under the paths at which they stand.

    Raises:
        CheckpointError: something in it is neither a number, text, a tensor nor a list, tuple or dict of them.
    """
    if isinstance(state, torch.Tensor):
        tensors[path] = state
        return {_TENSOR: path}
    if state is None or isinstance(state, bool | int | float | str):
        return state
    if isinstance(state, Mapping):
        pairs = cast("Mapping[object, object]", state)
        if all(isinstance(key, str) for key in pairs):
            return {str(key): take_apart(value, tensors, _join(path, key)) for key, value in pairs.items()}
        return {_PAIRS: [[take_apart(key, tensors), take_apart(value, tensors, _join(path, key))] for key, value in pairs.items()]}
    if isinstance(state, tuple | list):
        items = [take_apart(value, tensors, _join(path, index)) for index, value in enumerate(cast("Sequence[object]", state))]
        return {_TUPLE: items} if isinstance(state, tuple) else items
    raise CheckpointError(
        f"The optimizer's state holds a {type(state).__name__}, which a checkpoint cannot keep.",
        place=path or "optimizer",
        remedy="Use an optimizer whose state is numbers and tensors, or train without checkpoints.",
    )


def put_together(json: object, tensors: Mapping[str, torch.Tensor]) -> object:
    """The state that `take_apart` took apart."""
    if isinstance(json, list):
        return [put_together(value, tensors) for value in cast("list[object]", json)]
    if not isinstance(json, Mapping):
        return json
    found = cast("Mapping[str, object]", json)
    if _TENSOR in found:
        return tensors[str(found[_TENSOR])]
    if _TUPLE in found:
        return tuple(put_together(value, tensors) for value in cast("list[object]", found[_TUPLE]))
    if _PAIRS in found:
        pairs = cast("list[list[object]]", found[_PAIRS])
        return {put_together(key, tensors): put_together(value, tensors) for key, value in pairs}
    return {key: put_together(value, tensors) for key, value in found.items()}


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)
