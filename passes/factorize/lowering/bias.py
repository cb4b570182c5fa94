"""What is added to a layer's bias when its weight becomes a chain."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.program import array


def shifted_input(editor: Editor, node: onnx_ir.Node, index: int, shift: np.ndarray, dtype: np.dtype) -> onnx_ir.Value:
    """A constant bias, or none, plus a shift, for the node that takes the place of `node`.

    The bias keeps its name where no other node reads it; else a new one is made.

    Args:
        editor: stands at the node.
        node: the layer.
        index: which of its inputs is the bias.
        shift: [outputs], already divided by what the node multiplies the bias by.
        dtype: of a bias that is made.
    """
    value = node.inputs[index] if index < len(node.inputs) else None
    known = array(value)
    if value is None or known is None:
        return editor.constant(shift.astype(dtype), f"{node.outputs[0].name}.bias")
    made = (known.astype(np.float64) + shift).astype(known.dtype)
    if value.is_initializer() and len(value.uses()) == 1 and not value.is_graph_output():
        editor.set_constant(value, made)
        return value
    return editor.constant(made, value.name or "bias")


def is_shiftable(value: onnx_ir.Value | None, outputs: int) -> bool:
    """Whether a bias is none, or a constant with one number for all outputs or for each."""
    known = array(value)
    return value is None or (known is not None and known.shape in ((), (1,), (outputs,), (1, 1), (1, outputs)))


def add_behind(editor: Editor, value: onnx_ir.Value, shift: np.ndarray, axis: int, dtype: np.dtype, name: str) -> onnx_ir.Value:
    """The value plus a shift along one of its last axes, `axis` counted from the end."""
    along = shift.reshape(-1, *(1,) * (-1 - axis)).astype(dtype)
    return editor.op("Add", [value, editor.constant(along, f"{name}.bias")], name=name, like=value)
