"""LSTM, GRU and RNN: hidden units are rows of every gate, and columns of the recurrent weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir

from netwright.ir.coupling.axes import Axis, Fixed, Tracked
from netwright.ir.coupling.rules.table import given, needed, rule, where
from netwright.ir.program import array, constant

if TYPE_CHECKING:
    from netwright.ir.coupling.group import Role
    from netwright.ir.coupling.walk import Walk

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@rule("LSTM", "GRU", "RNN")
def recurrent(walk: Walk, node: onnx_ir.Node) -> None:
    """W [dirs, gates·H, I], R [dirs, gates·H, H], B [dirs, 2·gates·H], P [dirs, 3·H]; both directions have the same H."""
    x, w, r = needed(node), needed(node, 1), needed(node, 2)
    data, weight, hidden_weight = walk.axes(x, node), walk.axes(w, node), walk.axes(r, node)
    gates = _GATES[node.op_type]
    walk.join((data[2], weight[2]))
    walk.use(w, 2, "in", node)
    hidden = hidden_weight[2]
    walk.use(r, 2, "in", node)
    _tie_gates(walk, hidden, weight[1], gates)
    _tie_gates(walk, hidden, hidden_weight[1], gates)
    walk.use(w, 1, "out", node)
    walk.use(r, 1, "out", node)
    walk.make(hidden, node)
    walk.mark(hidden, "recurrent")
    walk.work(node, hidden, weight[2])
    for number, times, role in ((3, 2 * gates, "shift"), (7, 3, "scale")):
        value = given(node, number)
        if value is not None:
            _tie_gates(walk, hidden, walk.axes(value, node)[1], times)
            walk.use(value, 1, _role(role), node)
    for number in (5, 6):
        value = given(node, number)
        if value is not None and not is_zero(value):
            axes = walk.axes(value, node)
            hidden = walk.join((hidden, axes[2]))
            walk.use(value, 2, "shift", node)
    lengths = given(node, 4)
    if lengths is not None:
        walk.axes(lengths, node)
    if "activations" in node.attributes or "clip" in node.attributes:
        walk.inexact(hidden, f"{where(node)} has activations of its own choice, which may not keep zero")
    _outputs(walk, node, data, weight[0], hidden)


_MOVES = frozenset({"Cast", "Concat", "Expand", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze"})


def is_zero(value: onnx_ir.Value, depth: int = 8) -> bool:
    """True where a value provably is zero everywhere: layers that begin at zero share it without being coupled."""
    if constant(value) is not None:
        found = array(value)
        return found is not None and not found.any()
    node = value.producer()
    if node is None or depth == 0 or node.domain:
        return False
    if node.op_type == "ConstantOfShape":
        return "value" not in node.attributes or not node.attributes["value"].as_tensor().numpy().any()
    sources = node.inputs if node.op_type == "Concat" else node.inputs[:1]
    return node.op_type in _MOVES and all(source is not None and is_zero(source, depth - 1) for source in sources)


def _outputs(walk: Walk, node: onnx_ir.Node, data: tuple[Axis, ...], directions: Axis, hidden: Axis) -> None:
    batch_first = "layout" in node.attributes and node.attributes["layout"].as_int() == 1
    walk.freeze(directions, f"{where(node)} has a fixed number of directions")
    if isinstance(directions, Tracked):
        directions = Fixed(f"{where(node)} has a fixed number of directions")
    sequence, batch = (data[1], data[0]) if batch_first else (data[0], data[1])
    whole = (batch, sequence, directions, hidden) if batch_first else (sequence, directions, batch, hidden)
    last = (batch, directions, hidden) if batch_first else (directions, batch, hidden)
    for output, axes in zip(node.outputs, (whole, last, last), strict=False):
        walk.set(output, axes)


def _role(name: str) -> Role:
    return "shift" if name == "shift" else "scale"


def _tie_gates(walk: Walk, hidden: Axis, rows: Axis, times: int) -> None:
    """Rows of all gates, one block after the other, belong to the hidden units."""
    if isinstance(hidden, Tracked) and isinstance(rows, Tracked) and len(rows.labels) == times * len(hidden.labels):
        walk.units.tie(rows.labels.reshape(times, -1), hidden.labels[None])
    else:
        walk.freeze((hidden, rows), "the gates cannot be told apart")
