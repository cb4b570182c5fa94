"""Operators of `com.microsoft` for which the package has no rule, or a wrong one."""

from __future__ import annotations

import onnx_ir
from onnx_ir import DataType
from onnx_shape_inference import OpUsageError

from netwright.ir.dims import (
    UNKNOWN,
    Dim,
    multiply,
)
from netwright.ir.opinfo import CONTRIB_DOMAIN, int_attr, ints_attr, str_attr
from netwright.ir.shape_context import Context
from netwright.ir.shape_rules.broadcasting import matmul_dims
from netwright.ir.shape_rules.common import required, set_output
from netwright.ir.shape_rules.table import Rule, register, rule_for


def _as_standard(op_type: str, version: int = 20) -> Rule:
    """The rule of the standard operator with the same first inputs and attributes."""

    def infer(context: Context, node: onnx_ir.Node) -> None:
        rule = rule_for("", op_type, version)
        if rule is None:
            raise OpUsageError(node, f"no rule for {op_type} at version {version}")
        rule(context, node)

    return infer


for _contrib, _standard in {
    "FusedGemm": "Gemm",
    "QuantizeLinear": "QuantizeLinear",
    "DequantizeLinear": "DequantizeLinear",
    "Pad": "Pad",
    "Trilu": "Trilu",
    "Inverse": "Abs",
    "DynamicQuantizeMatMul": "MatMul",
}.items():
    register(CONTRIB_DOMAIN, _contrib)(_as_standard(_standard))


@register(CONTRIB_DOMAIN, "MatMulIntegerToFloat")
def infer_matmul_integer_to_float(context: Context, node: onnx_ir.Node) -> None:
    """Matmul of 8-bit integers, scaled to float: the scales' type."""
    a, b, scale = required(node, 3)
    set_output(context, node.outputs[0], matmul_dims(context, a, b), scale.dtype)


@register(CONTRIB_DOMAIN, "QGemm")
def infer_qgemm(context: Context, node: onnx_ir.Node) -> None:
    """Product of 8-bit matrices: the type of `y_zero_point`, or float where the result is not quantized again."""
    a, scale, _, b = required(node, 4)
    zero = node.inputs[8] if len(node.inputs) > 8 else None
    shape = None
    if a.shape is not None and b.shape is not None and a.shape.rank() == 2 and b.shape.rank() == 2:
        rows = a.shape[1 if int_attr(node, "transA", 0) else 0]
        shape = (rows, b.shape[0 if int_attr(node, "transB", 0) else 1])
    set_output(context, node.outputs[0], shape, scale.dtype if zero is None else zero.dtype)


@register(CONTRIB_DOMAIN, "GatherBlockQuantized")
def infer_gather_block_quantized(context: Context, node: onnx_ir.Node) -> None:
    """A look-up in a table of 2, 4 or 8 bits, scaled to float; uint8 tables hold 8 / bits elements a byte in the last axis."""
    data, indices, scales = required(node, 3)
    if data.shape is None or indices.shape is None:
        set_output(context, node.outputs[0], None, scales.dtype)
        return
    dims = list(data.shape.dims)
    axis = int_attr(node, "gather_axis", 0) % len(dims)
    if data.dtype == DataType.UINT8:
        dims[-1] = multiply(dims[-1], 8 // int_attr(node, "bits", 4))
    set_output(context, node.outputs[0], (*dims[:axis], *indices.shape.dims, *dims[axis + 1 :]), scales.dtype)


@register(CONTRIB_DOMAIN, "DynamicQuantizeLSTM")
def infer_dynamic_quantize_lstm(context: Context, node: onnx_ir.Node) -> None:
    """As LSTM: Y [seq, directions, batch, hidden], Y_h and Y_c [directions, batch, hidden]; but R is [directions, hidden, 4·hidden]."""
    x, _, r = required(node, 3)
    directions = 2 if str_attr(node, "direction", "forward") == "bidirectional" else 1
    hidden: Dim = int_attr(node, "hidden_size", 0) or (r.shape[1] if r.shape is not None and r.shape.rank() == 3 else UNKNOWN)
    for index, output in enumerate(node.outputs):
        if x.shape is None:
            set_output(context, output, None, x.dtype)
            continue
        seq, batch = x.shape.dims[:2]
        set_output(context, output, (seq, directions, batch, hidden) if index == 0 else (directions, batch, hidden), x.dtype)


@register(CONTRIB_DOMAIN, "NhwcMaxPool")
def infer_nhwc_max_pool(context: Context, node: onnx_ir.Node) -> None:
    """Max pooling with channels last, on 8-bit integers."""
    (x,) = required(node, 1)
    if x.shape is None:
        set_output(context, node.outputs[0], None, x.dtype)
        return
    batch, *space, channels = x.shape.dims
    rank = len(space)
    kernel = ints_attr(node, "kernel_shape")
    strides = ints_attr(node, "strides") or (1,) * rank
    dilations = ints_attr(node, "dilations") or (1,) * rank
    pads = ints_attr(node, "pads") or (0,) * (2 * rank)
    automatic = str_attr(node, "auto_pad", "NOTSET")
    up = int_attr(node, "ceil_mode", 0)
    result: list[Dim] = []
    for axis, size in enumerate(space):
        if not isinstance(size, int):
            result.append(context.new_symbolic_dim())
            continue
        if automatic in ("SAME_UPPER", "SAME_LOWER"):
            result.append(-(-size // strides[axis]))
            continue
        padding = 0 if automatic == "VALID" else pads[axis] + pads[axis + rank]
        reach = size + padding - (kernel[axis] - 1) * dilations[axis] - 1
        result.append((-(-reach // strides[axis]) if up else reach // strides[axis]) + 1)
    set_output(context, node.outputs[0], (batch, *result, channels), x.dtype)
