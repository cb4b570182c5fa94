"""Where the bias of a layer is once the layer was quantized, and adding to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.opinfo import float_attr, int_attr, is_float, is_standard
from netwright.ir.program import array, constant


@dataclass(frozen=True, slots=True, eq=False)
class Bias:
    """A constant with one number for each output channel.

    Attributes:
        value: the constant; int32 where `step` is given.
        reader: the node that reads it.
        index: which of its inputs it is.
        step: what its integers stand for, a number or one for each channel.
        scale: what the layer multiplies it by.
    """

    value: onnx_ir.Value
    reader: onnx_ir.Node
    index: int
    step: np.ndarray | None = None
    scale: float = 1.0

    def add(self, editor: Editor, shift: np.ndarray) -> None:
        """Add to it; where others read it too, to a copy."""
        data = array(self.value)
        assert data is not None, "found by its constant"
        wanted = shift.reshape(data.shape) / self.scale
        if self.step is None:
            made = (data.astype(np.float64) + wanted).astype(data.dtype)
        else:
            integers = data.astype(np.float64) + np.rint(wanted / self.step.reshape(-1).astype(np.float64))
            limits = np.iinfo(data.dtype)
            made = np.clip(integers, limits.min, limits.max).astype(data.dtype)
        if self.value.is_initializer() and len(tuple(self.value.uses())) == 1 and not self.value.is_graph_output():
            editor.set_constant(self.value, made)
        else:
            editor.set_input(self.reader, self.index, editor.at(self.reader).constant(made, self.value.name or "bias"))


def bias_behind(value: onnx_ir.Value, channels: int) -> Bias | None:
    """The bias in what makes a value; None where there is none with a number for each channel."""
    node = _maker(value)
    if node is None:
        return None
    if is_standard(node, "Add", "Sum") and len(node.inputs) == 2:
        found = [_read(node, index, channels, 1.0) for index in (0, 1)]
        return next((bias for bias in found if bias is not None), None)
    if is_standard(node, "Conv", "ConvTranspose", "Gemm") and len(node.inputs) > 2:
        scale = float_attr(node, "beta", 1.0) if node.op_type == "Gemm" else 1.0
        return _read(node, 2, channels, scale) if scale else None
    return None


def _maker(value: onnx_ir.Value) -> onnx_ir.Node | None:
    """The node that computes the value, before it is put on a grid."""
    node = value.producer()
    while node is not None and is_standard(node, "DequantizeLinear", "QuantizeLinear"):
        before = node.inputs[0]
        node = None if before is None else before.producer()
    return node


def _read(node: onnx_ir.Node, index: int, channels: int, scale: float) -> Bias | None:
    value = node.inputs[index]
    if value is None:
        return None
    tensor = constant(value)
    if tensor is not None:
        whole = tensor.size == channels and is_float(tensor.dtype)
        return Bias(value, node, index, None, scale) if whole else None
    maker = value.producer()
    if maker is None or not is_standard(maker, "DequantizeLinear") or int_attr(maker, "block_size", 0):
        return None
    integers, step = constant(maker.inputs[0]), array(maker.inputs[1])
    source = maker.inputs[0]
    if source is None or integers is None or step is None or integers.size != channels or step.size not in (1, channels):
        return None
    return Bias(source, maker, 0, step, scale) if integers.dtype == onnx_ir.DataType.INT32 else None
