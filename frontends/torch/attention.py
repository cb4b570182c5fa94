"""Attention with dropout, as ONNX.

torch 2.13's own translation of `scaled_dot_product_attention` with dropout adds a boolean mask to float scores, which is no valid
ONNX, and leaves out Dropout's `training_mode`, which makes it an identity. This one replaces it when dropout is to be kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import onnx_ir
import onnxscript

# Operators while torch's exporter records a graph: onnxscript generates their signatures at import, so they have no types.
op = cast("Any", onnxscript.opset18)


class Symbolic(Protocol):
    """A tensor of the graph under construction."""

    @property
    def shape(self) -> Sequence[object]:
        """Sizes; ints where static."""
        ...

    @property
    def dtype(self) -> onnx_ir.DataType | None:
        """Type of the elements."""
        ...


def translations() -> dict[Callable[..., object], Callable[..., object]]:
    """Operators whose own translation would lose dropout, with ours (`custom_translation_table` of `torch.onnx.export`)."""
    import torch

    return {torch.ops.aten.scaled_dot_product_attention.default: attention_with_dropout}


def attention_with_dropout(
    query: Symbolic,
    key: Symbolic,
    value: Symbolic,
    attn_mask: Symbolic | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Symbolic:
    """`dropout(softmax(q kᵀ · scale + mask)) v` on heads: q [..., H, L, E], k [..., G, S, E], v [..., G, S, D].

    A boolean mask keeps where it is true. Reference: torch's documentation of `scaled_dot_product_attention`.
    """
    if enable_gqa:
        key, value = _repeat_heads(key, query), _repeat_heads(value, query)
    factor = scale if scale is not None else _static(query, -1) ** -0.5
    rank = len(query.shape)
    transposed = op.Transpose(key, perm=[*range(rank - 2), rank - 1, rank - 2])
    scores = op.MatMul(op.Mul(query, op.CastLike(op.Constant(value_float=factor), query)), transposed)
    if is_causal:
        attn_mask = _lower_triangle(query, key)
    if attn_mask is not None:
        scores = op.Add(scores, _additive(attn_mask, query, boolean=is_causal or attn_mask.dtype == onnx_ir.DataType.BOOL))
    weights = op.Softmax(scores, axis=-1)
    if dropout_p > 0:
        training = op.Constant(value=onnx_ir.tensor(True))
        weights, _ = op.Dropout(weights, op.Constant(value_float=dropout_p), training)
    return op.MatMul(weights, value)


def _lower_triangle(query: Symbolic, key: Symbolic) -> Symbolic:
    size = op.Concat(op.Shape(query, start=-2, end=-1), op.Shape(key, start=-2, end=-1), axis=0)
    ones = op.Expand(op.Constant(value_int=1), size)
    return op.Cast(op.Trilu(ones, upper=0), to=onnx_ir.DataType.BOOL)


def _additive(mask: Symbolic, like: Symbolic, *, boolean: bool) -> Symbolic:
    if not boolean:
        return mask
    return op.CastLike(op.Where(mask, op.Constant(value_float=0.0), op.Constant(value_float=float("-inf"))), like)


def _repeat_heads(grouped: Symbolic, query: Symbolic) -> Symbolic:
    """[B, G, S, E] → [B, H, S, E], each group's heads side by side."""
    heads, groups, width = _static(query, -3), _static(grouped, -3), _static(grouped, -1)
    repeated = op.Expand(op.Unsqueeze(grouped, op.Constant(value_ints=[2])), op.Constant(value_ints=[1, 1, heads // groups, 1, 1]))
    return op.Reshape(repeated, op.Constant(value_ints=[0, heads, -1, width]))


def _static(value: Symbolic, axis: int) -> int:
    size = value.shape[axis]
    if not isinstance(size, int):
        raise TypeError(f"attention with dropout needs a static size at axis {axis}, not {size}")
    return size
