"""Operators with attributes that count channels, groups, heads or hidden units."""

from __future__ import annotations

import math

import onnx_ir

from netwright.ir.coupling.rules.recurrent import is_zero
from netwright.ir.dims import shape_of
from netwright.ir.opinfo import int_attr
from netwright.passes.prune.removal.mend.table import Change, mend


@mend("Conv")
def convolution(change: Change, node: onnx_ir.Node) -> None:
    """As many groups as there are channels in for the channels of one group."""
    groups, x, weight = int_attr(node, "group", 1), node.inputs[0], node.inputs[1]
    if groups == 1 or x is None or weight is None:
        return
    channels, inside = change.wanted(x)[1], (shape_of(weight) or (1, 1))[1]
    if isinstance(channels, int) and isinstance(inside, int) and channels // inside != groups:
        change.editor.set_attribute(node, "group", channels // inside)


@mend("GroupNormalization")
def group_norm(change: Change, node: onnx_ir.Node) -> None:
    """Whole groups went, or as many channels from each."""
    x = node.inputs[0]
    sizes = change.sizes(x, node, 1) if x is not None else None
    if sizes is None:
        return
    before, after = sizes
    groups = int_attr(node, "num_groups", 1)
    if change.mode == "outer" or before == groups:
        change.editor.set_attribute(node, "num_groups", groups * after // before)


@mend("LSTM", "GRU", "RNN")
def recurrent(change: Change, node: onnx_ir.Node) -> None:
    """The number of hidden units; states that begin at zero begin there without being told."""
    hidden = (shape_of(node.inputs[2]) or (0, 0, 0))[2]
    if not isinstance(hidden, int) or hidden == int_attr(node, "hidden_size", 0):
        return
    change.editor.set_attribute(node, "hidden_size", hidden)
    for number in (5, 6):
        value = node.inputs[number] if number < len(node.inputs) else None
        if value is not None and is_zero(value):
            change.editor.set_input(node, number, None)


@mend("Attention")
def attention(change: Change, node: onnx_ir.Node) -> None:
    """Heads where they are not an axis; the scale, once features of heads went, stays that of all of them."""
    _heads(change, node, "q_num_heads", "kv_num_heads")


@mend("MultiHeadAttention", domain="com.microsoft")
def multi_head(change: Change, node: onnx_ir.Node) -> None:
    """Heads, and the scale likewise."""
    _heads(change, node, "num_heads", "num_heads")


@mend("GroupQueryAttention", domain="com.microsoft")
def grouped_query(change: Change, node: onnx_ir.Node) -> None:
    """Query heads, and key and value heads."""
    _heads(change, node, "num_heads", "kv_num_heads")


def _heads(change: Change, node: onnx_ir.Node, query: str, key: str) -> None:
    q, k = node.inputs[0], node.inputs[1]
    if q is None or k is None:
        return
    flat = len(shape_of(q) or ()) == 3
    if change.mode == "inner":
        sizes = change.sizes(q, node, -1)
        if "scale" not in node.attributes and sizes is not None:
            heads = int_attr(node, query, 1) if flat else 1
            change.editor.set_attribute(node, "scale", 1.0 / math.sqrt(sizes[0] // heads))
        return
    if not flat:
        return
    counts = {name: int_attr(node, name, 1) for name in (query, key)}
    for name, value in ((query, q), (key, k)):
        sizes = change.sizes(value, node, -1)
        if sizes is not None:
            change.editor.set_attribute(node, name, counts[name] * sizes[1] // sizes[0])


@mend("RotaryEmbedding")
def rotary(change: Change, node: onnx_ir.Node) -> None:
    """Heads where they are not an axis."""
    _rotated_heads(change, node)


@mend("RotaryEmbedding", domain="com.microsoft")
def contrib_rotary(change: Change, node: onnx_ir.Node) -> None:
    """The same."""
    _rotated_heads(change, node)


def _rotated_heads(change: Change, node: onnx_ir.Node) -> None:
    x, heads = node.inputs[0], int_attr(node, "num_heads", 0)
    sizes = change.sizes(x, node, -1) if x is not None and heads and change.mode == "outer" else None
    if sizes is not None:
        change.editor.set_attribute(node, "num_heads", heads * sizes[1] // sizes[0])
