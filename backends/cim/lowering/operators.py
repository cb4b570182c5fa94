"""Models whose quantized products are operators of their own: QLinearConv, QLinearMatMul, MatMulInteger.

The first two say the same as DequantizeLinear, Conv or MatMul, QuantizeLinear, and are written so, to be lowered like those (and where they
are not, ONNX Runtime makes the same kernel of it again). MatMulInteger's sums are lowered as they are: Σ (x − zx)·w in int32, the zero
point computed or not.
"""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.backends.cim.lowering.emitting import Workshop
from netwright.backends.cim.lowering.reading import LIMITS, NoProduct
from netwright.ir.dims import shape_of
from netwright.ir.editor import Editor
from netwright.ir.opinfo import site
from netwright.ir.program import array
from netwright.passes.rewrite import Rewrite

QLINEAR = {"QLinearConv": "Conv", "QLinearMatMul": "MatMul"}
"""Quantized operator → what it is between Dequantize- and QuantizeLinear."""


def open_qlinear(node: onnx_ir.Node) -> Rewrite | None:
    """A QLinearConv or QLinearMatMul written out; None where a scale is computed."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *rest = node.inputs
    product = QLINEAR[node.op_type]
    first, second, last = array(x_scale), array(w_scale), array(y_scale)
    if first is None or second is None or last is None or first.size != 1 or last.size != 1:
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


def lower_integer_matmul(node: onnx_ir.Node, workshop: Workshop) -> Rewrite:
    """MatMulInteger as a `CrossbarMatMul`, and −zx·Σ_k w[k, j] where the input has a zero point.

    Raises:
        NoProduct: it cannot be one; the message says why.
    """
    x, w, x_zero, w_zero = (*node.inputs, None, None)[:4]
    data = array(w)
    if x is None or w is None or data is None:
        raise NoProduct("both operands are computed: of such products MatMul between grids alone is written to arrays")
    if data.dtype != np.int8 or data.ndim != 2 or len(shape_of(x) or ()) < 2:
        raise NoProduct(f"weights {data.dtype.name} of rank {data.ndim}; arrays hold int8 matrices")
    weight_zero = np.zeros(1) if w_zero is None else array(w_zero)
    if weight_zero is None or weight_zero.any():
        raise NoProduct("the weight has a zero point; arrays hold weights around 0")
    kind = "" if x.dtype is None else x.dtype.numpy().name
    if kind not in LIMITS or workshop.shifts(kind):
        raise NoProduct(f"the input is {kind or 'of unknown type'}, which the chip's digits do not carry")
    if x_zero is not None and any(dim != 1 for dim in shape_of(x_zero) or ()):
        raise NoProduct("the input has a zero point for each row")
    workshop.refuse(data)
    columns = data.sum(axis=0, dtype=np.int32)

    def make(editor: Editor) -> onnx_ir.Value:
        sums = workshop.product(editor, x, w, node, signed=kind == "int8")
        if x_zero is None:
            return sums
        wide = editor.op("Cast", [x_zero], {"to": int(onnx_ir.DataType.INT32)}, name=f"{site(node)}.zero")
        return editor.op("Sub", [sums, editor.op("Mul", [wide, editor.constant(columns, f"{site(node)}.columns")])])

    return Rewrite.build(node, make, why=f"[{data.shape[0]}, {data.shape[1]}] weights in crossbars, sums as they are")
