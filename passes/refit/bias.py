"""Where a layer's bias is, or can be, and how to change it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.opinfo import float_attr, is_standard
from netwright.ir.program import array
from netwright.passes.statistics import LinearLayer

Kind = Literal["input", "add", "new"]


@dataclass(frozen=True, slots=True, eq=False)
class BiasPlace:
    """The place of a bias.

    Attributes:
        kind: `input`: an input of the layer's own node; `add`: a constant that an Add adds next; `new`: there is none.
        node: that reads the bias.
        index: which of its inputs it is.
        output: what the layer makes with its bias.
        outputs: how many channels.
        axis: of the output, along which channels lie.
        scale: what the node multiplies the bias by.
    """

    kind: Kind
    node: onnx_ir.Node
    index: int
    output: onnx_ir.Value
    outputs: int
    axis: int
    scale: float = 1.0

    def add(self, editor: Editor, shift: np.ndarray) -> None:
        """Add to the bias; one that others read as well is copied first. Does nothing for a shift of zero."""
        if not shift.any():
            return
        if self.kind == "new":
            self._insert(editor, shift)
            return
        value = self.node.inputs[self.index] if self.index < len(self.node.inputs) else None
        known = array(value)
        dtype = self._dtype(known)
        base = np.zeros(self.outputs) if known is None else known.astype(np.float64)
        if self.kind == "add":
            made = base + self._along(shift)
        else:
            made = np.broadcast_to(base, (self.outputs,) if base.ndim < 2 else (1, self.outputs)) + shift / self.scale
        made = made.astype(dtype)
        if value is not None and value.is_initializer() and len(value.uses()) == 1 and not value.is_graph_output():
            editor.set_constant(value, made)
            return
        if self.index >= len(self.node.inputs):
            editor.resize_inputs(self.node, self.index + 1)
        hint = f"{self.output.name}.bias" if value is None else value.name or "bias"
        editor.set_input(self.node, self.index, editor.at(self.node).constant(made, hint))

    def _along(self, shift: np.ndarray) -> np.ndarray:
        """The shift as it broadcasts to the output."""
        return shift if self.axis == -1 else shift.reshape(-1, *(1,) * (-1 - self.axis))

    def _insert(self, editor: Editor, shift: np.ndarray) -> None:
        """The product again, and an Add behind it: new nodes go before the old one, which dies."""
        editor.at(self.node)
        attributes = dict(self.node.attributes)
        product = editor.op(self.node.op_type, list(self.node.inputs), attributes, name=f"{self.output.name}.product", like=self.output)
        bias = editor.constant(self._along(shift).astype(self._dtype(None)), f"{self.output.name}.bias")
        editor.replace(self.output, editor.op("Add", [product, bias], name=self.output.name or "sum", like=self.output))

    def _dtype(self, known: np.ndarray | None) -> np.dtype:
        dtype = self.output.dtype
        return known.dtype if known is not None else np.dtype(np.float32) if dtype is None else dtype.numpy()


def bias_place(layer: LinearLayer) -> BiasPlace:
    """Where the bias of a layer goes."""
    node, outputs = layer.node, layer.outputs
    axis = -2 if layer.left else -1
    if node.op_type == "Conv":
        value = node.inputs[2] if len(node.inputs) > 2 else None
        behind = -1 - len(layer.window.kernel) if layer.window is not None else -1
        return BiasPlace("input" if value is None or array(value) is not None else "new", node, 2, layer.output, outputs, behind)
    if node.op_type == "Gemm":
        value = node.inputs[2] if len(node.inputs) > 2 else None
        bias, beta = array(value), float_attr(node, "beta", 1.0)
        if beta != 0 and (value is None or (bias is not None and bias.shape in ((), (1,), (outputs,), (1, 1), (1, outputs)))):
            return BiasPlace("input", node, 2, layer.output, outputs, -1, beta)
        return BiasPlace("new", node, 2, layer.output, outputs, -1)
    adding = _adding(layer.output, outputs, axis)
    return adding if adding is not None else BiasPlace("new", node, 2, layer.output, outputs, axis)


def _adding(output: onnx_ir.Value, outputs: int, axis: int) -> BiasPlace | None:
    """The Add of a constant of one number for each channel, where that is all that reads the output."""
    uses = tuple(output.uses())
    if len(uses) != 1 or output.is_graph_output():
        return None
    user, index = uses[0]
    if not is_standard(user, "Add") or user.graph is not output.graph:
        return None
    bias = array(user.inputs[1 - index])
    if bias is None or bias.size not in (1, outputs) or bias.ndim > (output.shape.rank() if output.shape is not None else 1):
        return None
    if bias.size == outputs and bias.size > 1 and (bias.ndim < -axis or bias.shape[axis] != outputs):
        return None
    return BiasPlace("add", user, 1 - index, user.outputs[0], outputs, axis)
