"""Walking back over nodes that only move elements or multiply all of them by one number: a zero stays a zero."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.opinfo import is_standard
from netwright.ir.program import constant

MOVES = frozenset({"Dropout", "Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators whose output's elements are their first input's."""
_BYTES = (onnx_ir.DataType.INT8, onnx_ir.DataType.UINT8)


def source_of(value: onnx_ir.Value) -> onnx_ir.Value:
    """The earliest value that reaches this one, and nobody else, with its elements moved or scaled and its zeros where they were.

    Over a Concat it goes to the part that is new, where the others are inputs of the graph: a cache of keys or values.
    """
    while (before := _before(value)) is not None:
        value = before
    return value


def quantizer_of(node: onnx_ir.Node) -> onnx_ir.Node | None:
    """The QuantizeLinear whose integers, their places moved or not, a DequantizeLinear reads and nobody else does."""
    value = node.inputs[0]
    while value is not None and len(value.uses()) == 1 and not value.is_graph_output():
        before = value.producer()
        if before is None or is_standard(before, "QuantizeLinear"):
            return before
        value = before.inputs[0] if is_standard(before, *MOVES) else None
    return None


def grid_behind(value: onnx_ir.Value) -> onnx_ir.Node | None:
    """The QuantizeLinear to 8 bits that alone reads a value, its elements moved or not: a grid that a map is on already."""
    while not value.is_graph_output():
        nodes = list(dict.fromkeys(node for node, _ in readers(value)))
        if len(nodes) != 1 or nodes[0].inputs[0] is not value:
            return None
        if is_standard(nodes[0], "QuantizeLinear"):
            return nodes[0] if _is_number(nodes[0].inputs[1]) and nodes[0].outputs[0].dtype in _BYTES else None
        if not is_standard(nodes[0], *MOVES):
            return None
        value = nodes[0].outputs[0]
    return None


def clamps(node: onnx_ir.Node) -> bool:
    """Whether a QuantizeLinear makes negative values zero: its zero point is the least integer."""
    zero = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if zero is None:
        return len(node.inputs) < 3 and node.outputs[0].dtype == onnx_ir.DataType.UINT8
    array = zero.numpy()
    return bool(np.issubdtype(array.dtype, np.integer) and np.all(array == np.iinfo(array.dtype).min))


def readers(value: onnx_ir.Value) -> list[tuple[onnx_ir.Node, int]]:
    """Who reads the elements of a value, not only its shape, and as which input."""
    return [(use.node, use.idx) for use in value.uses() if not is_standard(use.node, "Shape", "Size")]


def weight_of(value: onnx_ir.Value | None) -> onnx_ir.TensorProtocol | None:
    """The constant that a weight is, also where it is transposed or stored as integers."""
    while value is not None:
        tensor = constant(value)
        if tensor is not None:
            return tensor
        node = value.producer()
        if node is None or not is_standard(node, "Transpose", "DequantizeLinear", "QuantizeLinear", "Cast"):
            return None
        value = node.inputs[0]
    return None


def _before(value: onnx_ir.Value) -> onnx_ir.Value | None:
    """One step back, or None where it ends."""
    node = value.producer()
    if node is None or not node.inputs:
        return None
    if is_standard(node, *MOVES):
        return _only_read_by(node, node.inputs[0])
    if is_standard(node, "Mul", "Div"):
        left, right = node.inputs
        if _is_number(right):
            return _only_read_by(node, left)
        return _only_read_by(node, right) if node.op_type == "Mul" and _is_number(left) else None
    if is_standard(node, "Concat"):
        new = [one for one in node.inputs if one is not None and not _is_past(one)]
        return _only_read_by(node, new[0]) if len(new) == 1 and len(node.inputs) > 1 else None
    if is_standard(node, "DequantizeLinear"):
        return _before_grid(node)
    return None


def _before_grid(node: onnx_ir.Node) -> onnx_ir.Value | None:
    """What QuantizeLinear and DequantizeLinear lead on; None where that was made sparse: then the pair belongs to the map."""
    rounding = quantizer_of(node)
    if rounding is None:
        return None
    value = rounding.inputs[0]
    producer = value.producer() if value is not None else None
    if producer is not None and is_standard(producer, "Shrink"):
        return None
    return _only_read_by(rounding, value)


def _only_read_by(node: onnx_ir.Node, value: onnx_ir.Value | None) -> onnx_ir.Value | None:
    if value is None or constant(value) is not None:
        return None
    return value if all(reader is node for reader, _ in readers(value)) else None


def _is_number(value: onnx_ir.Value | None) -> bool:
    tensor = constant(value)
    return tensor is not None and tensor.size == 1


def _is_past(value: onnx_ir.Value) -> bool:
    """True of an input of the graph, its elements moved or not."""
    while (node := value.producer()) is not None and is_standard(node, *MOVES) and node.inputs[0] is not None:
        value = node.inputs[0]
    return value.is_graph_input()
