"""Factors and HardSigmoid, which the scale and zero point of integers can express."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.program import Program
from netwright.passes.quantize.choice import ActivationGrid
from netwright.passes.quantize.folding.facts import dequantized, is_output_once, is_taken
from netwright.passes.quantize.static.operators import rescaling
from netwright.passes.quantize.static.pairs import ON_GRID, grid_constants
from netwright.passes.rewrite import Rewrite
from netwright.passes.rules import rule

_BYTE = 8


@rule("Div", "HardSigmoid", "Mul")
def sink_through_rescaling(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """`clip(a s (q - z) + b, low, high)` is `s' (clip(q) - z')` with s' = a s and z' = z - b / (a s), where that is an integer."""
    change, found = rescaling(node), dequantized(node.inputs[0])
    if change is None or found is None or not is_taken(node) or not is_output_once(node.outputs[0]):
        return None
    dequantize, grid = found
    scale = change.factor * grid.scale
    zero = _integer(grid.zero_point - change.shift / scale)
    if grid.bits != _BYTE or zero is None or not grid.low <= zero <= grid.high:
        return None
    ends = [_integer(min(max(limit / scale + zero, grid.low), grid.high)) for limit in (change.low, change.high)]
    low, high = ends
    if low is None or high is None:
        return None
    moved = ActivationGrid(scale, zero, grid.bits, grid.signed)

    def make(editor: Editor) -> onnx_ir.Value:
        name = node.outputs[0].name or node.op_type
        integers = dequantize.inputs[0]
        if (low, high) != (grid.low, grid.high):
            dtype = np.int8 if grid.signed else np.uint8
            least, most = (editor.constant(np.array(end, dtype), f"{name}.{which}") for end, which in ((low, "low"), (high, "high")))
            integers = editor.op("Clip", [integers, least, most], name=f"{name}.integers")
        step, point = grid_constants(editor, moved, name)
        return editor.op("DequantizeLinear", [integers, step, point], like=node.outputs[0])

    return Rewrite.build(node, make, why=f"{node.op_type} is the same integers on another grid")


def _integer(number: float) -> int | None:
    nearest = round(number)
    return nearest if abs(number - nearest) <= ON_GRID else None


RESCALING_RULES = (sink_through_rescaling,)
