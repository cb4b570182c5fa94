"""Padding: tokens that no attention looks at, which are no part of what a map holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import onnx_ir

from netwright.ir.errors import DataError
from netwright.ir.opinfo import is_standard
from netwright.ir.program import Program
from netwright.passes.sparsify.attention import Attending, attentions

_Form: TypeAlias = Literal["weights", "scores", "keys", "tokens"]
Tokens: TypeAlias = Mapping[tuple[int, int], np.ndarray]
"""By batch and length of the sequence: [batch, tokens], true where a token counts. Where there is no entry, all count."""

_MASKED = -1000.0
"""Numbers below, added to scores, mask; what is learned and added lies far above."""


@dataclass(frozen=True, slots=True)
class Padding:
    """Where a program tells which tokens count.

    Attributes:
        sources: names of values, and what they are: `weights` behind a softmax, a mask of `scores` or of `keys`, or of `tokens`.
    """

    sources: Mapping[str, _Form]

    @property
    def names(self) -> tuple[str, ...]:
        """The values that have to be known."""
        return tuple(self.sources)

    def tokens(self, values: Mapping[str, np.ndarray]) -> Tokens:
        """Which tokens count: those whose key any query of any attention of that length can see."""
        found: dict[tuple[int, int], np.ndarray] = {}
        for name, form in self.sources.items():
            seen = _seen(values[name], form)
            if seen is not None:
                key = (seen.shape[0], seen.shape[1])
                found[key] = found[key] | seen if key in found else seen
        return {key: seen for key, seen in found.items() if not seen.all()}


def padding_of(program: Program, mask: str | None = None) -> Padding:
    """What tells of padding in a program.

    Attention that is spelt out tells by its weights, which are zero for a key that is masked out; attention as a node of ONNX or a
    `MultiHeadAttention` by its mask. A causal mask alone leaves every key to some query: nothing is padding then.

    Args:
        program: any.
        mask: an input or inner value [batch, tokens], not zero where a token counts, to go by instead.

    Raises:
        DataError: the program has no value of that name.
    """
    if mask is not None:
        if not any(mask in (value.name for value in values) for values in (program.inputs, *(node.outputs for node in program.graph))):
            inputs = ", ".join(value.name or "" for value in program.inputs)
            raise DataError(f"There is no value %{mask}.", place="mask", remedy=f"Name an input ({inputs}) or an inner value.")
        return Padding({mask: "tokens"})
    sources: dict[str, _Form] = {}
    for one in attentions(program):
        if isinstance(one, Attending):
            sources.update(_sources(one))
    return Padding(sources)


def counting(array: np.ndarray, tokens: Tokens) -> np.ndarray:
    """The part of a map that counts, as [tokens, …]; the map as it is where nothing is padding or its axes are others.

    Args:
        array: [batch, tokens, features], [batch, heads, tokens, features] or [batch · tokens, features].
        tokens: which count.
    """
    seen = counted_tokens(array, tokens)
    if seen is None:
        return array
    return array[seen.reshape(-1)] if array.ndim == 2 else np.moveaxis(array, -2, 1)[seen]


def counted_tokens(array: np.ndarray, tokens: Tokens) -> np.ndarray | None:
    """[batch, tokens] for a map, true where a token counts; None where all do. For the axes see `counting`."""
    if array.ndim > 2:
        return tokens.get((array.shape[0], array.shape[-2]))
    return next((seen for seen in tokens.values() if array.ndim == 2 and seen.size == array.shape[0]), None)


def _sources(one: Attending) -> dict[str, _Form]:
    if one.softmax is not None:
        return {one.softmax.name or "": "weights"}
    node = one.query[0]
    inputs = node.inputs
    places: dict[int, _Form] = {3: "scores"} if is_standard(node, "Attention") else {}
    if node.op_type == "MultiHeadAttention":
        places = {4: "keys", 5: "scores"}
    return {inputs[at].name or "": form for at, form in places.items() if len(inputs) > at and _is_computed(inputs[at])}  # type: ignore[union-attr]


def _is_computed(value: onnx_ir.Value | None) -> bool:
    return value is not None and not value.is_initializer()


def _seen(array: np.ndarray, form: _Form) -> np.ndarray | None:
    """[batch, tokens] from a source; None where its shape says nothing of single tokens of a sentence."""
    if form in ("keys", "tokens"):
        return array != 0 if array.ndim == 2 else None
    if array.ndim not in (3, 4):
        return None
    seen = np.asarray(array if array.dtype == bool else array > 0 if form == "weights" else array > _MASKED)
    return np.asarray(seen.any(axis=tuple(range(1, array.ndim - 1)))) if array.ndim == 4 or form == "weights" else None
