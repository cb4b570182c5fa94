"""Attention in one node: heads lie along an axis of their own, or outside of the features of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir

from netwright.ir.coupling.axes import ONE, Axis, Fixed, Tracked
from netwright.ir.coupling.rules.table import NoRule, given, needed, rule, where
from netwright.ir.coupling.walk import dims_of
from netwright.ir.opinfo import int_attr

if TYPE_CHECKING:
    from netwright.ir.coupling.units import Labels
    from netwright.ir.coupling.walk import Walk

CONTRIB = "com.microsoft"


@rule("Attention")
def attention(walk: Walk, node: onnx_ir.Node) -> None:
    """Q, K, V as [batch, heads, length, features] each, or [batch, length, heads · features]."""
    _attend(walk, node, int_attr(node, "q_num_heads", 0), int_attr(node, "kv_num_heads", 0), mask=3, past=(4, 5))


@rule("MultiHeadAttention", domain=CONTRIB)
def multi_head(walk: Walk, node: onnx_ir.Node) -> None:
    """Three inputs of three axes; packed ones and a bias have no rule."""
    if given(node, 1) is None or given(node, 2) is None or given(node, 3) is not None or given(node, 4) is not None:
        raise NoRule("packed inputs, a bias or a padding mask")
    heads = int_attr(node, "num_heads", 1)
    _attend(walk, node, heads, heads, mask=5, past=(6, 7))


@rule("GroupQueryAttention", domain=CONTRIB)
def grouped_query(walk: Walk, node: onnx_ir.Node) -> None:
    """Query heads in groups, each with one key and value head."""
    if given(node, 1) is None or given(node, 2) is None:
        raise NoRule("packed inputs")
    for number in (5, 6, 7, 8):
        value = given(node, number)
        if value is not None:
            walk.freeze(walk.axes(value, node), f"{where(node)} reads it by place")
    _attend(walk, node, int_attr(node, "num_heads", 1), int_attr(node, "kv_num_heads", 1), mask=10, past=(3, 4), whole_features=True)


def _attend(
    walk: Walk, node: onnx_ir.Node, heads: int, kv_heads: int, *, mask: int, past: tuple[int, int], whole_features: bool = False
) -> None:
    q, k, v = needed(node), needed(node, 1), needed(node, 2)
    axes = [walk.axes(value, node) for value in (q, k, v)]
    flat = len(axes[0]) == 3
    counts = (heads, kv_heads, kv_heads)
    if flat:
        places = [_factors(walk, node, found[2], count) for found, count in zip(axes, counts, strict=True)]
    else:
        places = [(found[1], found[3]) for found in axes]
    (q_heads, q_dim), (k_heads, k_dim), (v_heads, v_dim) = places
    kv = walk.join((k_heads, v_heads))
    _group_heads(walk, node, q_heads, kv)
    feature = walk.join((q_dim, k_dim))
    for axis in (q_heads, kv):
        walk.mark(axis, "heads")
    for axis in (feature, v_dim):
        walk.mark(axis, "head_dim")
        if whole_features:
            walk.freeze(axis, f"{where(node)} knows its number of features from elsewhere")
    walk.work(node, q_heads, feature, v_dim)
    bias = given(node, mask)
    if bias is not None:
        shape = walk.axes(bias, node)
        if len(shape) > 2 and shape[-3] is not ONE:
            walk.join((q_heads, shape[-3]))
    for number, axis, width in ((past[0], k_heads, k_dim), (past[1], v_heads, v_dim)):
        value = given(node, number)
        if value is not None:
            found = walk.axes(value, node)
            walk.join((axis, found[1]))
            walk.join((width, found[3]))
    batch, length = axes[0][0], axes[0][1 if flat else 2]
    out = _flat(walk, axes[2][2], q_heads, v_dim, heads, kv_heads) if flat else None
    whole = (batch, length, out) if out is not None else (batch, q_heads, length, v_dim)
    results = [whole, (batch, k_heads, axes[1][1 if flat else 2], k_dim), (batch, v_heads, axes[1][1 if flat else 2], v_dim)]
    results.append((batch, q_heads, length, axes[1][1 if flat else 2]))
    for output, found in zip(node.outputs, results, strict=False):
        walk.set(output, found)


def _factors(walk: Walk, node: onnx_ir.Node, axis: Axis, heads: int) -> tuple[Axis, Axis]:
    """[heads · features] as two axes; units lie along one of them."""
    if not isinstance(axis, Tracked) or not axis.plain or heads < 1 or len(axis.labels) % heads:
        reason = Fixed(axis.why if isinstance(axis, Fixed) else f"{where(node)}: its heads cannot be told apart")
        walk.freeze(axis, reason.why)
        return reason, reason
    table = axis.labels.reshape(heads, -1)
    if (walk.mode == "outer" and heads > 1) or table.shape[1] == 1:
        walk.units.tie(table, table[:, :1])
        return Tracked(table[:, 0]), Fixed(f"{where(node)}: units lie along its heads")
    walk.units.tie(table, table[:1])
    return (ONE if heads == 1 else Fixed(f"{where(node)}: units lie along the features of its heads")), Tracked(table[0])


def _group_heads(walk: Walk, node: onnx_ir.Node, q_heads: Axis, kv: Axis) -> None:
    """A key and value head goes with the query heads that use it; where there is one only, query heads go alone."""
    if kv is ONE or (isinstance(q_heads, Fixed) and isinstance(kv, Fixed)):
        return
    if isinstance(q_heads, Tracked) and isinstance(kv, Tracked) and len(q_heads.labels) % len(kv.labels) == 0:
        walk.units.tie(q_heads.labels.reshape(len(kv.labels), -1), kv.labels[:, None])
        return
    walk.freeze((q_heads, kv), f"{where(node)}: some of its heads are fixed")


def _flat(walk: Walk, v_axis: Axis, q_heads: Axis, v_dim: Axis, heads: int, kv_heads: int) -> Axis:
    """The output's last axis: query heads by value features."""
    width = _width(v_axis) // max(kv_heads, 1)
    if isinstance(q_heads, Tracked):
        return Tracked(np.repeat(q_heads.labels, width))
    if isinstance(v_dim, Tracked):
        return Tracked(np.tile(v_dim.labels, heads))
    walk.freeze(v_axis, q_heads.why)
    return q_heads if q_heads is not ONE else v_dim


def _width(axis: Axis) -> int:
    return len(axis.labels) if isinstance(axis, Tracked) else 0


@rule("RotaryEmbedding")
def rotary(walk: Walk, node: onnx_ir.Node) -> None:
    """Features turn in pairs: (i, i + d/2), or neighbours where interleaved; a pair goes together, with its sine and cosine."""
    _rotate(walk, node, caches=(1, 2))


@rule("RotaryEmbedding", domain=CONTRIB)
def contrib_rotary(walk: Walk, node: onnx_ir.Node) -> None:
    """The same with positions first."""
    _rotate(walk, node, caches=(2, 3))


def _rotate(walk: Walk, node: onnx_ir.Node, *, caches: tuple[int, int]) -> None:
    x = needed(node)
    axes = walk.axes(x, node)
    heads = int_attr(node, "num_heads", 0)
    flat = len(axes) == 3
    feature = _factors(walk, node, axes[2], heads)[1] if flat and heads else axes[-1]
    rotated = int_attr(node, "rotary_embedding_dim", 0)
    if isinstance(feature, Tracked):
        labels = feature.labels[:rotated] if rotated else feature.labels
        if rotated or not feature.plain:
            walk.freeze(feature, f"{where(node)} turns only {rotated} of its features")
        pairs = labels.reshape(-1, 2).T if int_attr(node, "interleaved", 0) else labels.reshape(2, -1)
        walk.units.tie(pairs, pairs[:1])
        for number in caches:
            _tie_cache(walk, node, number, pairs[0])
    walk.set(node.outputs[0], axes)


def _tie_cache(walk: Walk, node: onnx_ir.Node, number: int, labels: Labels) -> None:
    value = given(node, number)
    if value is None:
        return
    axis = walk.axes(value, node)[-1]
    if isinstance(axis, Tracked) and len(axis.labels) == len(labels):
        walk.units.tie(axis.labels, labels)
        walk.use(value, len(dims_of(value)) - 1, "other", node)
    else:
        walk.units.freeze(labels, f"{where(node)}: its angles are {axis.why if isinstance(axis, Fixed) else 'of another size'}")
