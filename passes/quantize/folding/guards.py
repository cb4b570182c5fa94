"""Keeping float kernels float.

At its first level already, ONNX Runtime (1.31) makes integers of the float weight of a Conv, ConvTranspose or Gemm that reads a
DequantizeLinear, one scale for the tensor: a layer that was left float because it is sensitive is quantized worse than ever. A Clip to the
ends of the grid, which changes nothing, stands in between.
"""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.program import Program, constant
from netwright.passes.quantize.folding.facts import dequantized
from netwright.passes.rewrite import Rewrite
from netwright.passes.rules import rule


@rule("Conv", "ConvTranspose", "Gemm", "MatMul")
def stay_float(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A float layer behind integers."""
    found = dequantized(node.inputs[0])
    if found is None or not _is_float_weight(node.inputs[1]):
        return None
    _, grid = found
    ends = tuple(np.array((end - grid.zero_point) * grid.scale, np.float32) for end in (grid.low, grid.high))
    value = node.inputs[0]
    assert value is not None, "it was dequantized"

    def change(editor: Editor) -> None:
        low, high = (editor.constant(end, f"{value.name}.{name}") for end, name in zip(ends, ("low", "high"), strict=True))
        bound = editor.op("Clip", [value, low, high], name=f"{value.name}.bound", like=value)
        editor.set_input(node, 0, bound)

    return Rewrite.edit(node.outputs[0].name or "", "its weight stays float", change, anchor=node)


def _is_float_weight(value: onnx_ir.Value | None) -> bool:
    """True for a constant of floats, also where it is stored as bytes and made floats of by Cast and Mul."""
    tensor = constant(value)
    if tensor is not None:
        return tensor.dtype.is_floating_point()
    node = value.producer() if value is not None else None
    if node is None or node.domain or node.op_type not in ("Cast", "Mul", "Transpose"):
        return False
    return all(constant(one) is not None or _is_float_weight(one) for one in node.inputs)


GUARDS = (stay_float,)
