"""Products of matrices: MatMul, and Gemm, of bytes with constant weights."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.backends.cim.lowering.attention import is_computed, lower_pair
from netwright.backends.cim.lowering.emitting import SIGN_SHIFT, Workshop, shift_sign
from netwright.backends.cim.lowering.reading import NoProduct, activation, grid_of, weight
from netwright.backends.cim.lowering.sums import Scales, bias_of, less_share, offset_of, to_bytes, to_floats, with_ones
from netwright.ir.dims import shape_of
from netwright.ir.editor import Editor
from netwright.ir.opinfo import float_attr, int_attr, site
from netwright.passes.rewrite import Rewrite


def lower_matmul(node: onnx_ir.Node, workshop: Workshop) -> Rewrite:
    """MatMul, or Gemm, as a `CrossbarMatMul`.

    Raises:
        NoProduct: it cannot be one; the message says why.
    """
    gemm = node.op_type == "Gemm"
    alpha, beta = factors_of(node)
    if not gemm and is_computed(node.inputs[1]):
        return lower_pair(node, workshop)
    turned = gemm and bool(int_attr(node, "transB", 0))
    x, input_scale, zero = activation(node.inputs[0])
    input_scale = alpha * input_scale
    w = weight(node.inputs[1], 0 if turned else -1)
    rank = len(shape_of(x.value) or ())
    if w.held.ndim != 2 or rank < 2:
        raise NoProduct(
            f"an input of rank {rank} times weights of rank {w.held.ndim}; arrays hold matrices: write a MatMul for each matrix"
        )
    matrix = w.held.T if turned else w.held
    workshop.refuse(matrix, w.rest)
    shifted = workshop.shifts(x.dtype)
    bias, floats = bias_of(node, input_scale * w.scale, beta) if gemm else (None, None)
    scales = Scales(site(node), input_scale, w.scale, offset_of(matrix, zero + (SIGN_SHIFT if shifted else 0), bias, w.rest))
    grid = grid_of(node.outputs[0]) if floats is None else None
    result = node.outputs[0] if grid is None else grid.value

    def change(editor: Editor) -> None:
        source = shift_sign(editor, x.value) if shifted else x.value
        held = workshop.matrix(editor, w.value, f"turned {w.form}" if turned else w.form or "as is", with_ones(matrix, w.rest))
        sums = workshop.product(editor, source, held, node, signed=x.dtype == "int8" and not shifted)
        sums = less_share(editor, sums, w.rest, matrix.shape[1], site(node))
        if grid is not None:
            editor.replace(result, to_bytes(editor, sums, scales, grid))
            return
        made = to_floats(editor, sums, scales)
        editor.replace(result, made if floats is None else plus(editor, made, floats, beta))

    return Rewrite.edit(site(node), _why(matrix, w.moved, grid is not None), change, anchor=node)


def _why(matrix: np.ndarray, moved: str, to_bytes: bool) -> str:
    return f"[{matrix.shape[0]}, {matrix.shape[1]}] weights in crossbars{moved}, sums to {'bytes' if to_bytes else 'floats'}"


def factors_of(node: onnx_ir.Node) -> tuple[np.float32, np.float32]:
    """A Gemm's alpha and beta; 1 and 1 of other products. ONNX Runtime's QGemm takes alpha as a factor of the input's scale, in float32.

    Raises:
        NoProduct: alpha is no factor of a scale, or the input is transposed.
    """
    if node.op_type != "Gemm":
        return np.float32(1), np.float32(1)
    alpha, beta = np.float32(float_attr(node, "alpha", 1.0)), np.float32(float_attr(node, "beta", 1.0))
    if alpha == 0 or not np.isfinite(alpha):
        raise NoProduct(f"Gemm with alpha = {alpha:g}, of which nothing is left to compute: write its C in its place")
    if int_attr(node, "transA", 0):
        raise NoProduct(
            "Gemm with its input transposed: rows of K would lie across samples; put a Transpose before the input's QuantizeLinear instead"
        )
    return alpha, beta


def plus(editor: Editor, made: onnx_ir.Value, bias: onnx_ir.Value, beta: np.float32) -> onnx_ir.Value:
    """A product's floats and beta times a bias."""
    if beta != 1:
        bias = editor.op("Mul", [bias, editor.constant(np.array(beta), f"{bias.name}.beta")], name=f"{bias.name}.scaled")
    return editor.op("Add", [made, bias])
