"""Dequantizers moved behind what only moves elements, so that layers between quantizers are found: as `fold` does it for good."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir

from netwright.backends.torch.fuse.quantized_layers import is_single
from netwright.ir.opinfo import int_attr
from netwright.ir.program import Program
from netwright.passes.simplify.match import producer

_MOVERS = frozenset(
    {
        *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "DepthToSpace", "SpaceToDepth"),
        *("Expand", "Gather", "MaxPool", "Relu", "Slice", "Tile"),
    }
)
"""Operators whose first input's elements, and no others, are their result's; Relu cuts integers off at the one of 0."""


def sink_dequantizers(program: Program, keep: Collection[str]) -> None:
    """Have movers of dequantized values move the integers, and dequantize what comes out; values keep their names.

    Only dequantizers with one scale for all are moved, in the main graph. Linear in nodes.

    Args:
        program: changed in place.
        keep: names of values that must be computed as they are.
    """
    nodes = [node for node in program.graph if node.op_type in _MOVERS and node.domain in ("", "ai.onnx") and len(node.outputs) == 1]
    if not nodes or not any(node.op_type == "DequantizeLinear" for node in program.graph):
        return
    with program.edit(by="") as editor:
        for node in nodes:
            value = node.inputs[0]
            dequantizer = producer(value, "DequantizeLinear")
            if value is None or dequantizer is None or value.name in keep or dequantizer.graph is not node.graph:
                continue
            integers, scale, *rest = dequantizer.inputs
            if (
                integers is None
                or integers.dtype is None
                or scale is None
                or not is_single(scale)
                or int_attr(dequantizer, "block_size", 0)
            ):
                continue
            old = node.outputs[0]
            name = old.name or node.op_type
            is_bound = node.op_type == "Relu"
            if is_bound and not rest:
                continue
            operator, others = ("Clip", rest) if is_bound else (node.op_type, node.inputs[1:])
            moved = editor.at(node).op(operator, [integers, *others], dict(node.attributes), name=f"{name}.integers", like=old)
            moved.type = onnx_ir.TensorType(integers.dtype)
            editor.replace(old, editor.op("DequantizeLinear", [moved, scale, *rest], dict(dequantizer.attributes), name=name, like=old))
