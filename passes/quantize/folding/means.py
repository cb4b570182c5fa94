"""Means over all positions as the pools that runtimes have integer kernels for."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.dims import shape_of
from netwright.ir.editor import Editor
from netwright.ir.opinfo import int_attr
from netwright.ir.program import Program, array
from netwright.passes.quantize.folding.facts import dequantized, sole_reader
from netwright.passes.rewrite import Rewrite
from netwright.passes.rules import rule


@rule("ReduceMean")
def pool_mean(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A mean between integers over all axes after the second: GlobalAveragePool."""
    reader = sole_reader(node.outputs[0])
    if reader is None or reader.op_type != "QuantizeLinear" or dequantized(node.inputs[0]) is None or not is_global(node):
        return None
    dims = shape_of(node.inputs[0])
    assert dims is not None, "it is global"

    def make(editor: Editor) -> onnx_ir.Value:
        if int_attr(node, "keepdims", 1):
            return editor.op("GlobalAveragePool", [node.inputs[0]], like=node.outputs[0])
        pooled = editor.op("GlobalAveragePool", [node.inputs[0]], name=f"{node.outputs[0].name}.pooled")
        axes = editor.constant(np.arange(2, len(dims), dtype=np.int64), f"{node.outputs[0].name}.axes")
        return editor.op("Squeeze", [pooled, axes], like=node.outputs[0])

    return Rewrite.build(node, make, why="a mean over all positions is a pool, which has an integer kernel")


def is_global(node: onnx_ir.Node) -> bool:
    """True of a ReduceMean over all axes after the second, of which there are some."""
    dims = shape_of(node.inputs[0])
    if dims is None or len(dims) < 3:
        return False
    given = array(node.inputs[1]) if len(node.inputs) > 1 else None
    axes = node.attributes.get_ints("axes", ()) if given is None else given.reshape(-1).tolist()
    return sorted(int(axis) % len(dims) for axis in axes or ()) == list(range(2, len(dims)))


MEAN_RULES = (pool_mean,)
