"""Weights and biases that training left in float32, as integers."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.maps import Cast, Mapped, Permute, Same
from netwright.ir.opinfo import float_attr, int_attr
from netwright.ir.program import Program, array, constant
from netwright.passes.quantize.folding.facts import dequantized, producer, sole_reader
from netwright.passes.quantize.static.stored import store_bias, swap_constant
from netwright.passes.quantize.weights import float_array, owner_of
from netwright.passes.quantize.zeros import zero_points
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import rule

_LARGEST = float((1 << 31) - 1)


@rule("QuantizeLinear")
def quantize_constant(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A constant on a constant grid: its integers are the constant."""
    weight = node.inputs[0]
    tensor = constant(weight)
    scale, zero = array(node.inputs[1]), zero_points(node)
    if weight is None or tensor is None or scale is None or zero is None or node.outputs[0].is_graph_output():
        return None
    if scale.ndim > 1 or int_attr(node, "block_size", 0) or zero.dtype.kind not in "iu" or zero.dtype.itemsize > 2:
        return None
    axis = int_attr(node, "axis", 1) % max(1, len(tensor.shape))

    def make(editor: Editor) -> onnx_ir.Value:
        integers = on_grid(float_array(weight), scale, zero, axis)
        made = editor.constant(integers, f"{weight.name}.integers", graph=owner_of(weight))
        dtype = weight.dtype.numpy().name if weight.dtype is not None else "float32"
        grain = Cast(zero.dtype.name, dtype, scale.astype(np.float32) if scale.ndim else float(scale), axis=axis if scale.ndim else None)
        if not zero.any():
            editor.map(node.outputs[0].name or "", Mapped(grain, (weight.name or "",)))
        return made

    return Rewrite.build(node, make, why="a constant's integers")


def on_grid(data: np.ndarray, scale: np.ndarray, zero: np.ndarray, axis: int) -> np.ndarray:
    """What QuantizeLinear computes: in float32, halves to even, saturating."""
    shape = [-1 if one == axis else 1 for one in range(data.ndim)] if scale.ndim else []
    limits = np.iinfo(zero.dtype)
    steps = np.rint(data / scale.astype(np.float32).reshape(shape)) + zero.astype(np.float32).reshape(shape if zero.ndim else [])
    return np.clip(steps, limits.min, limits.max).astype(zero.dtype)


@rule("Clip")
def clip_constant(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Constant integers between constant bounds, as weights of few bits are trained: a constant."""
    source = node.inputs[0]
    data, low, high = (array(value) for value in (*node.inputs, None, None)[:3])
    if source is None or data is None or low is None or high is None or data.dtype.kind not in "iu" or node.outputs[0].is_graph_output():
        return None

    def make(editor: Editor) -> onnx_ir.Value:
        made = editor.constant(np.clip(data, low, high), f"{source.name}.clipped", graph=owner_of(source))
        editor.map(node.outputs[0].name or "", Mapped(Same(), (source.name or "",)))
        return made

    return Rewrite.build(node, make, why="a constant's integers, cut off")


@rule("Conv", "Gemm")
def quantize_bias(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """The float bias of a product of integers becomes int32, in steps of its operands' scales."""
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    found, weight = dequantized(node.inputs[0]), producer(node.inputs[1], "DequantizeLinear")
    data = array(bias)
    if bias is None or data is None or found is None or weight is None or data.dtype != np.float32:
        return None
    scale = array(weight.inputs[1])
    if scale is None or scale.ndim > 1 or not _has_symmetric_weight(weight):
        return None
    if node.op_type == "Gemm" and (float_attr(node, "beta", 1.0) != 1.0 or float_attr(node, "alpha", 1.0) != 1.0):
        return Miss("its bias stays float: alpha or beta is not 1, and QGemm takes none", site_of(node))
    if data.size != data.shape[-1]:
        return Miss(f"its bias stays float: it has the shape {list(data.shape)}, and QGemm takes one number for each column", site_of(node))
    step = (np.float32(found[1].scale) * scale.astype(np.float32)).reshape(-1)
    peak = float(np.abs(data.reshape(-1) / step).max(initial=0.0))
    if peak > _LARGEST:
        return Miss(f"its bias stays float: it reaches {peak:.3g} steps of its operands' scales, over 2**31", site_of(node))

    def change(editor: Editor) -> None:
        swap_constant(editor, node, 2, store_bias(editor, data.reshape(-1), step, bias.name or "bias", [(bias, 1.0)]))

    return Rewrite.edit(site_of(node), "int32 bias", change, anchor=node)


@rule("Transpose")
def turn_constant(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A weight that is turned behind its DequantizeLinear, for one reader, is stored turned."""
    source = node.inputs[0]
    dequantize = producer(source, "DequantizeLinear")
    if source is None or dequantize is None or sole_reader(source) is not node or node.outputs[0].is_graph_output():
        return None
    held = dequantize.inputs[0]
    data, scale = array(held), array(dequantize.inputs[1])
    if held is None or data is None or scale is None or int_attr(dequantize, "block_size", 0) or len(held.uses()) > 1:
        return None
    perm = tuple(node.attributes.get_ints("perm", tuple(range(data.ndim))[::-1]))
    axis = perm.index(int_attr(dequantize, "axis", 1) % data.ndim) if scale.ndim else None

    def make(editor: Editor) -> onnx_ir.Value:
        turned = editor.constant(np.ascontiguousarray(data.transpose(perm)), f"{held.name}.turned", graph=owner_of(held))
        editor.map(turned.name or "", Mapped(Permute(perm), (held.name or "",)))
        return editor.op("DequantizeLinear", [turned, *dequantize.inputs[1:]], {"axis": axis}, like=node.outputs[0])

    return Rewrite.build(node, make, why="stored turned")


def _has_symmetric_weight(weight: onnx_ir.Node) -> bool:
    zero = zero_points(weight)
    return zero is not None and not zero.any()


CONSTANT_RULES = (quantize_constant, clip_constant, quantize_bias, turn_constant)
