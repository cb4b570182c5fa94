"""Models whose quantized products are operators of their own: QLinearConv and QLinearMatMul.

They say the same as DequantizeLinear, Conv or MatMul, QuantizeLinear, and are written so, to be lowered like those (and where they are not,
ONNX Runtime makes the same kernel of it again).
"""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.opinfo import site
from netwright.ir.program import array, constant
from netwright.passes.rewrite import Rewrite

QLINEAR = {"QLinearConv": "Conv", "QLinearMatMul": "MatMul"}
"""Quantized operator → what it is between Dequantize- and QuantizeLinear."""


def open_qlinear(node: onnx_ir.Node) -> Rewrite | None:
    """A QLinearConv or QLinearMatMul written out; None where a scale is computed, or the weight's scales and zero points are not alike."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *rest = node.inputs
    product = QLINEAR[node.op_type]
    first, second, last = array(x_scale), array(w_scale), array(y_scale)
    if first is None or second is None or last is None or first.size != 1 or last.size != 1:
        return None
    zero = constant(w_zero)
    if zero is not None and zero.size != second.size:
        return None
    axis = {"axis": 0 if product == "Conv" else 1} if second.size > 1 else {}
    factors = (first.reshape(-1) * second.reshape(-1)).astype(np.float32)
    bias = rest[0] if rest else None

    def make(editor: Editor) -> onnx_ir.Value:
        inputs = [editor.op("DequantizeLinear", [x, x_scale, x_zero]), editor.op("DequantizeLinear", [w, w_scale, w_zero], axis)]
        if bias is not None:
            scale = editor.constant(factors if second.size > 1 else factors.reshape(()), f"{site(node)}.bias_scale")
            inputs.append(editor.op("DequantizeLinear", [bias, scale], {"axis": 0} if second.size > 1 else {}))
        done = editor.op(product, inputs, dict(node.attributes))
        return editor.op("QuantizeLinear", [done, y_scale, y_zero])

    return Rewrite.build(node, make, why=f"{node.op_type} written out")
