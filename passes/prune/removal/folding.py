"""What becomes of constants where units end: they go into a bias."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir

from netwright.ir.coupling.axes import Axis, Tracked
from netwright.ir.editor import Editor
from netwright.ir.maps import Affine, Mapped
from netwright.ir.opinfo import int_attr, ints_attr, site
from netwright.ir.program import array

if TYPE_CHECKING:
    from netwright.passes.prune.removal.state import State


def fold(state: State, node: onnx_ir.Node, sums: np.ndarray, indices: np.ndarray) -> Callable[[Editor], None] | str:
    """How the constants of removed channels get into what comes after; a sentence where they cannot.

    Args:
        state: the labels.
        node: a convolution, matrix product or recurrent layer with a constant weight.
        sums: the constant of each removed channel.
        indices: the removed channels, among the node's input channels.
    """
    weight = array(node.inputs[1]) if len(node.inputs) > 1 else None
    if weight is None:
        return f"{node.op_type} at %{site(node)} would need them in a bias"
    if node.op_type == "Conv":
        if (groups := int_attr(node, "group", 1)) != 1:
            return f"Conv at %{site(node)} works on {groups} groups of channels"
        if any(ints_attr(node, "pads")) or node.attributes.get("auto_pad") is not None:
            return f"Conv at %{site(node)} pads its input with zeros, not with that constant"
        added = np.tensordot(sums, weight[:, indices].reshape(weight.shape[0], len(indices), -1).sum(axis=2), axes=(0, 1))
        return lambda editor: _add_to_input(state, editor, node, 2, added)
    if node.op_type == "Gemm" and not int_attr(node, "transA", 0):
        matrix = weight.T if int_attr(node, "transB", 0) else weight
        alpha = node.attributes["alpha"].as_float() if "alpha" in node.attributes else 1.0
        added = alpha * (sums @ matrix[indices])
        if "beta" in node.attributes and node.attributes["beta"].as_float() != 1.0:
            return f"Gemm at %{site(node)} scales its bias"
        return lambda editor: _add_to_input(state, editor, node, 2, added)
    if node.op_type == "MatMul" and weight.ndim == 2:
        added = sums @ weight[indices]
        if node.outputs[0].is_graph_output():
            return f"MatMul at %{site(node)} is an output, behind which nothing can be added"
        return lambda editor: _add_after(state, editor, node, added)
    if node.op_type in ("LSTM", "GRU", "RNN"):
        added = np.tensordot(weight[:, :, indices], sums, axes=(2, 0))
        return lambda editor: _add_to_gates(state, editor, node, added)
    return f"{node.op_type} at %{site(node)} has no bias for them"


def _add_to_input(state: State, editor: Editor, node: onnx_ir.Node, number: int, added: np.ndarray) -> None:
    """Add to a bias that is an input, or give the node one."""
    weight = node.inputs[1]
    before = array(node.inputs[number]) if number < len(node.inputs) else None
    axes = () if weight is None else state.constants.get(state.key(weight, node), ())
    out = 1 if node.op_type == "Gemm" and not int_attr(node, "transB", 0) else 0
    _set_bias(state, editor, node, number, added if before is None else before + added, axes[out : out + 1])


def _set_bias(state: State, editor: Editor, node: onnx_ir.Node, number: int, bias: np.ndarray, axes: tuple[Axis, ...]) -> None:
    """Give the node this bias in the place of what it had."""
    editor.at(node)
    if len(node.inputs) <= number:
        editor.resize_inputs(node, number + 1)
    old = node.inputs[number]
    fresh = editor.constant(bias.astype(_dtype(node.inputs[1])), f"{site(node)}.bias")
    if old is None:
        state.add_constant(fresh, node, axes)
    else:
        key = state.key(old, node)
        if key in state.constants:
            state.move(key, fresh)
        editor.map(fresh.name or "", Mapped(Affine(shift=_broadcast(bias, old)), (old.name or "",)))
    editor.set_input(node, number, fresh)


def _broadcast(bias: np.ndarray, old: onnx_ir.Value) -> np.ndarray:
    """What was added to the old bias."""
    before = array(old)
    return bias if before is None else (bias - before).astype(np.float64)


def _dtype(value: onnx_ir.Value | None) -> np.dtype:
    return value.dtype.numpy() if value is not None and value.dtype is not None else np.dtype(np.float32)


def _add_after(state: State, editor: Editor, node: onnx_ir.Node, added: np.ndarray) -> None:
    """Add behind the node."""
    output = node.outputs[0]
    readers = tuple(output.uses())
    before = state.first_reader(output) or node
    editor.at(before)
    added_value = editor.constant(added.astype(_dtype(output)), f"{output.name}.constant")
    result = editor.op("Add", [output, added_value], name=f"{output.name}.shifted", like=output)
    for use in readers:
        editor.set_input(use.node, use.idx, result)
    state.add_value(result, output, before)
    made = result.producer()
    if made is not None:
        state.add_constant(added_value, made, state.values.get(output, ())[-1:])


def _add_to_gates(state: State, editor: Editor, node: onnx_ir.Node, added: np.ndarray) -> None:
    """Add to the input half of a recurrent layer's bias."""
    before = array(node.inputs[3]) if len(node.inputs) > 3 else None
    total = np.concatenate([added, np.zeros_like(added)], axis=1) if before is None else before.astype(np.float64)
    if before is not None:
        total[:, : added.shape[1]] += added
    weight = node.inputs[1]
    axes = () if weight is None else state.constants.get(state.key(weight, node), ())
    gates = tuple(Tracked(np.tile(axis.labels, 2)) if isinstance(axis, Tracked) else axis for axis in axes[1:2])
    _set_bias(state, editor, node, 3, total, (*axes[:1], *gates))
