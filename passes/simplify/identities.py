"""Nodes that return what they are given, by themselves or together with the node before."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
import onnx_ir

from netwright.ir.dims import dims_equal, shape_of
from netwright.ir.editor import can_replace
from netwright.ir.opinfo import has_references, int_attr, ints_attr, is_integer, is_random, str_attr
from netwright.ir.program import Program, array
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import rule
from netwright.passes.simplify.facts import concat_axis, integers, perm_of, producer, same_kind, splat


def route_around(node: onnx_ir.Node, source: onnx_ir.Value | None, why: str) -> Rewrite | None:
    """Replace a node's first output by a value that exists, where types, shapes and graph outputs allow."""
    out = node.outputs[0]
    if source is None or not can_replace(out, source):
        return None
    return Rewrite.replace(out, by=source, why=why)


@rule("Identity")
def drop_identity(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Route around Identity nodes."""
    return route_around(node, node.inputs[0], "identity")


@rule("Dropout")
def drop_dropout(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """Dropout does nothing at inference; in training mode it stays."""
    if is_random(node):
        return Miss("dropout in training mode: training_mode is not a constant false", site_of(node))
    if len(node.outputs) > 1 and (node.outputs[1].uses() or node.outputs[1].is_graph_output()):
        return Miss("dropout whose mask is read", site_of(node))
    return route_around(node, node.inputs[0], "dropout at inference")


@rule("Cast", "CastLike")
def drop_cast(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A cast to the type that the value has."""
    source, out = node.inputs[0], node.outputs[0]
    if source is None or source.dtype is None or source.dtype != out.dtype:
        return None
    return route_around(node, source, f"cast from {source.dtype.name.lower()} to itself")


@rule("Transpose")
def drop_transpose(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A transposition that leaves every axis where it is."""
    perm = perm_of(node)
    if perm is None or perm != tuple(range(len(perm))):
        return None
    return route_around(node, node.inputs[0], "transpose of no axes")


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Tile", "Resize", "Trilu", "CenterCropPad")
def drop_same_shape(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Operators that only rearrange, to the shape that the value has already."""
    source, out = node.inputs[0], node.outputs[0]
    if source is None or not same_kind(out, source):
        return None
    allowed = _SAME_SHAPE.get(node.op_type)
    if allowed is not None and not allowed(node):
        return None
    return route_around(node, source, f"{node.op_type.lower()} to the same shape")


def _tiles_once(node: onnx_ir.Node) -> bool:
    return splat(node.inputs[1]) == 1


def _never(node: onnx_ir.Node) -> bool:
    return False


def _resizes_nothing(node: onnx_ir.Node) -> bool:
    if str_attr(node, "coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        return False
    scales = node.inputs[2] if len(node.inputs) > 2 else None
    data = array(scales, limit=64)
    if data is not None and data.size:
        return bool((data == 1).all())
    return (
        len(node.inputs) > 3 and str_attr(node, "keep_aspect_ratio_policy", "stretch") == "stretch" and not int_attr(node, "antialias", 0)
    )


_SAME_SHAPE: MappingProxyType[str, Callable[[onnx_ir.Node], bool]] = MappingProxyType(
    {"Tile": _tiles_once, "Resize": _resizes_nothing, "Trilu": _never}
)


@rule("Slice")
def drop_full_slice(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A slice with step 1 that is as long as what it is cut from."""
    source, out = node.inputs[0], node.outputs[0]
    if source is None or not same_kind(out, source):
        return None
    steps = node.inputs[4] if len(node.inputs) > 4 else None
    if steps is not None and any(step != 1 for step in integers(steps) or (0,)):
        return None
    return route_around(node, source, "slice of the full range")


@rule("Concat", "Sum", "Max", "Min", "Mean")
def drop_single_input(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Concat, Sum, Max, Min and Mean of one value."""
    if len(node.inputs) != 1:
        return None
    return route_around(node, node.inputs[0], f"{node.op_type.lower()} of one value")


@rule("Concat")
def drop_empty_inputs(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Concat leaves out inputs of length 0 along its axis."""
    axis = concat_axis(node)
    if axis is None or len(node.inputs) < 2:
        return None
    kept = [value for value in node.inputs if not _is_empty(value, axis)]
    if len(kept) == len(node.inputs) or not kept:
        return None
    out = node.outputs[0]
    return Rewrite.build(node, lambda editor: editor.op("Concat", kept, {"axis": axis}, like=out), why="inputs of length 0")


def _is_empty(value: onnx_ir.Value | None, axis: int) -> bool:
    dims = shape_of(value)
    return dims is not None and axis < len(dims) and dims_equal(dims[axis], 0)


@rule("Pad")
def drop_pad(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Padding by nothing."""
    if splat(node.inputs[1]) != 0 or splat(node.inputs[1]) is None:
        return None
    return route_around(node, node.inputs[0], "pad by nothing")


@rule("Split")
def drop_split(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A split into one piece."""
    return route_around(node, node.inputs[0], "split into one piece") if len(node.outputs) == 1 else None


@rule("Clip")
def drop_clip(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Clip without bounds, or with the bounds of the type."""
    source = node.inputs[0]
    bounds = (*node.inputs[1:3], None, None)[:2]
    if (
        source is None
        or source.dtype is None
        or not all(_bounds_nothing(bound, low) for bound, low in zip(bounds, (True, False), strict=True))
    ):
        return None
    return route_around(node, source, "clip without bounds")


def _bounds_nothing(bound: onnx_ir.Value | None, low: bool) -> bool:
    if bound is None:
        return True
    found = splat(bound)
    if found is None:
        return False
    if found.dtype.kind in "iu":
        limits = np.iinfo(found.dtype.name)
        return int(found) == (limits.min if low else limits.max)
    return float(found) == (-np.inf if low else np.inf)


@rule("Gather")
def drop_full_gather(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Gather of all indices in order."""
    source, out = node.inputs[0], node.outputs[0]
    dims = shape_of(source)
    if source is None or dims is None or not same_kind(out, source):
        return None
    extent = dims[int_attr(node, "axis", 0) % len(dims)] if dims else 0
    indices = array(node.inputs[1], limit=1 << 16)
    if not isinstance(extent, int) or indices is None or indices.shape != (extent,) or not np.array_equal(indices, np.arange(extent)):
        return None
    return route_around(node, source, "gather of all indices in order")


_AVERAGES = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd")


@rule(*_AVERAGES)
def drop_reduce(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A reduction over no axes, or over axes of length 1 that are kept."""
    source, out = node.inputs[0], node.outputs[0]
    dims = shape_of(source)
    if source is None or dims is None or not same_kind(out, source) or has_references(node):
        return None
    given = integers(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] is not None else ints_attr(node, "axes")
    if given is None:
        return None
    over = given or (() if int_attr(node, "noop_with_empty_axes", 0) else tuple(range(len(dims))))
    if any(not dims_equal(dims[axis], 1) for axis in over):
        return None
    return route_around(node, source, f"{node.op_type} over axes of length 1" if over else f"{node.op_type} over no axes")


@rule("MaxPool", "AveragePool", "LpPool")
def drop_pool(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Pooling with a window of one element and stride 1."""
    if node.op_type == "LpPool" or len(node.outputs) > 1:
        return None
    ones = (*ints_attr(node, "kernel_shape"), *ints_attr(node, "strides"))
    if any(size != 1 for size in ones) or any(ints_attr(node, "pads")) or not same_kind(node.outputs[0], node.inputs[0] or node.outputs[0]):
        return None
    return route_around(node, node.inputs[0], "pooling over windows of one element")


_SELF_INVERSE = ("Neg", "Not", "BitwiseNot")


@rule(*_SELF_INVERSE)
def drop_double(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Neg of Neg, Not of Not."""
    inner = producer(node.inputs[0], node.op_type)
    if inner is None:
        return None
    return route_around(node, inner.inputs[0], f"{node.op_type} of {node.op_type}")


_IDEMPOTENT = ("Abs", "Ceil", "Floor", "Relu", "Round", "Sign")


@rule(*_IDEMPOTENT)
def drop_repeated(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Operators that change nothing the second time; rounding does nothing to integers cast to float."""
    inner = producer(node.inputs[0], node.op_type)
    if inner is not None:
        return route_around(node, inner.outputs[0], f"{node.op_type} of {node.op_type}")
    cast = producer(node.inputs[0], "Cast")
    if node.op_type in ("Ceil", "Floor", "Round") and cast is not None and cast.inputs[0] is not None and is_integer(cast.inputs[0].dtype):
        return route_around(node, node.inputs[0], f"{node.op_type} of whole numbers")
    return None


RULES = (
    drop_identity,
    drop_dropout,
    drop_cast,
    drop_transpose,
    drop_same_shape,
    drop_full_slice,
    drop_single_input,
    drop_empty_inputs,
    drop_pad,
    drop_split,
    drop_clip,
    drop_full_gather,
    drop_reduce,
    drop_pool,
    drop_double,
    drop_repeated,
)
