"""Convolutions, pooling and resizing: what a window takes from an axis."""

from __future__ import annotations

from functools import lru_cache

import onnx_ir
from onnx_ir import DataType
from onnx_shape_inference import OpUsageError

from netwright.ir.dims import (
    Dim,
    add,
    as_dim,
    is_known,
    subtract,
)
from netwright.ir.opinfo import CONTRIB_DOMAIN, int_attr, ints_attr, str_attr
from netwright.ir.shape_context import Context
from netwright.ir.shape_rules.common import axis_of, package_rule, set_output
from netwright.ir.shape_rules.table import register


@register("", "Conv", "ConvInteger", "QLinearConv")
@register(CONTRIB_DOMAIN, "FusedConv")
def infer_conv(context: Context, node: onnx_ir.Node) -> None:
    """Convolutions: X [batch, in, …], W [out, in / group, …] → [batch, out, …]."""
    quantized = node.op_type == "QLinearConv"
    x, w = (node.inputs[0], node.inputs[3 if quantized else 1])
    if x is None or w is None:
        raise OpUsageError(node, "an input or the weight is missing")
    zero_point = node.inputs[7] if quantized and len(node.inputs) > 7 else None
    dtype = DataType.INT32 if node.op_type == "ConvInteger" else zero_point.dtype if zero_point is not None else x.dtype
    if x.shape is None or w.shape is None:
        set_output(context, node.outputs[0], None, dtype)
        return
    batch, _, *space = x.shape.dims
    if w.shape.rank() != len(space) + 2:
        raise ValueError(f"a weight of rank {w.shape.rank()} for an input of rank {len(space) + 2}")
    kernel = ints_attr(node, "kernel_shape") or w.shape.dims[2:]
    strides = ints_attr(node, "strides") or (1,) * len(space)
    dilations = ints_attr(node, "dilations") or (1,) * len(space)
    pads = ints_attr(node, "pads") or (0,) * (2 * len(space))
    automatic = str_attr(node, "auto_pad", "NOTSET")
    result: list[Dim] = []
    for axis, size in enumerate(space):
        taps = kernel[axis]
        if not isinstance(taps, int) or not is_known(size):
            result.append(context.new_symbolic_dim())
            continue
        padding = 0 if automatic == "VALID" else pads[axis] + pads[axis + len(space)]
        reach = (taps - 1) * dilations[axis] + 1
        result.append(windows(size, reach - padding, strides[axis], same=automatic.startswith("SAME")))
    set_output(context, node.outputs[0], (batch, w.shape[0], *result), dtype)


@lru_cache(maxsize=4096)
def windows(size: Dim, reach: int, stride: int, *, same: bool = False) -> Dim:
    """How many windows fit: `floor((size − reach) / stride) + 1`; with padding to the same size, `ceil(size / stride)`."""
    if stride == 1 and (same or reach == 1):
        return size
    if same:
        return as_dim(-((-size) // stride))
    return as_dim(add(subtract(size, reach) // stride, 1))


@register("", "Resize", since_version=10)
def infer_resize(context: Context, node: onnx_ir.Node) -> None:
    """As the package's, but sizes that bend to an aspect ratio are unknown."""
    package_rule(context, node)
    output = node.outputs[0]
    if str_attr(node, "keep_aspect_ratio_policy", "stretch") == "stretch" or output.shape is None:
        return
    rank = output.shape.rank()
    axes = [axis_of(axis, rank) for axis in ints_attr(node, "axes")] or range(rank)
    set_output(context, output, [context.new_symbolic_dim() if at in axes else d for at, d in enumerate(output.shape.dims)], output.dtype)


@register("", "AveragePool", "MaxPool", "LpPool")
def infer_pool(context: Context, node: onnx_ir.Node) -> None:
    """As the package's, but rounding up named sizes gives unknown ones (a last window may start in the padding and not count)."""
    package_rule(context, node)
    if not int_attr(node, "ceil_mode", 0):
        return
    for output in node.outputs:
        if output.shape is not None:
            dims = [d if isinstance(d, int) or at < 2 else context.new_symbolic_dim() for at, d in enumerate(output.shape.dims)]
            set_output(context, output, dims, output.dtype)
