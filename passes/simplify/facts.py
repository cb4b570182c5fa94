"""What rules ask of values: constants of one value, sole readers, what is known of contents without computing them."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import onnx_ir

from netwright.ir.dims import Dim, dims_equal, shape_of
from netwright.ir.editor import reader_count
from netwright.ir.opinfo import int_attr, is_standard
from netwright.ir.program import array, constant
from netwright.ir.shape_context import CONTENTS
from netwright.ir.shapes import same_shape, static_shape

READ_LIMIT = 1 << 20
"""Constants of more elements than this are not read to find out whether their elements are alike."""

_DEPTH = 12
"""How many nodes `uniform` and `lower_bound` look through."""

Number = np.generic
Shapeless = frozenset({"Expand", "Flatten", "GatherElements", "Identity", "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze"})
"""Operators whose output elements are all elements of their first input."""


def sole_use(value: onnx_ir.Value) -> onnx_ir.Node | None:
    """The one node that reads a value, once, or None where several do, none does, or it is a graph output."""
    if value.is_graph_output():
        return None
    return next(iter(value.uses()))[0] if reader_count(value) == 1 else None


def producer(value: onnx_ir.Value | None, *op_types: str) -> onnx_ir.Node | None:
    """The standard-domain node of one of these operators that makes a value, else None."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type in op_types and is_standard(node) else None


def same_kind(a: onnx_ir.Value, b: onnx_ir.Value) -> bool:
    """True where two values provably have the same type and shape, so that one can stand for the other."""
    return a.dtype is not None and a.dtype == b.dtype and same_shape(a, b)


def integers(value: onnx_ir.Value | None, limit: int = 64) -> tuple[int, ...] | None:
    """The elements of a small constant of integers, in order, else None."""
    data = array(value, limit=limit)
    return None if data is None or data.dtype.kind not in "iu" else tuple(int(i) for i in data.reshape(-1))


def known_data(value: onnx_ir.Value) -> tuple[Dim, ...]:
    """What inference knows of a small integer tensor that is not constant; nothing where it knows nothing."""
    return cast("tuple[Dim, ...]", value.meta.get(CONTENTS, ())) if value.meta else ()


def splat(value: onnx_ir.Value | None) -> Number | None:
    """The one value that all elements of a constant have, else None."""
    tensor = constant(value)
    if tensor is None or not 0 < tensor.size <= READ_LIMIT or isinstance(tensor, onnx_ir.LazyTensor):
        return None
    data = tensor.numpy()
    if data.dtype.kind not in "biuf" and data.dtype.kind != "V":
        return None
    first = data.flat[0]
    return first if data.size == 1 or bool((data == first).all()) else None


def is_scalar(value: onnx_ir.Value | None) -> bool:
    """True of constants of one element whose rank adds nothing to what they are combined with (at most 1)."""
    tensor = constant(value)
    return tensor is not None and tensor.size == 1 and len(tensor.shape) <= 1


def uniform(value: onnx_ir.Value | None, depth: int = _DEPTH) -> Number | None:
    """The one value that all elements of a value provably have, whatever its shape, else None."""
    if value is None or depth == 0:
        return None
    if value.const_value is not None:
        return splat(value)
    node = value.producer()
    if node is None or not is_standard(node) or not node.inputs:
        return None
    if node.op_type in Shapeless:
        return uniform(node.inputs[0], depth - 1)
    rule = _UNIFORM.get(node.op_type)
    return rule(node, depth - 1) if rule is not None else splat(value)


def _uniform_gather(node: onnx_ir.Node, depth: int) -> Number | None:
    return uniform(node.inputs[0], depth) if constant(node.inputs[0]) is not None or producer(node.inputs[0], *Shapeless) else None


def _uniform_fill(node: onnx_ir.Node, _: int) -> Number | None:
    given = node.attributes.get("value")
    return np.float32(0) if given is None else None if given.is_ref() else given.as_tensor().numpy().flat[0]


def _uniform_where(node: onnx_ir.Node, depth: int) -> Number | None:
    condition, x, y = node.inputs
    chosen = uniform(condition, depth)
    if chosen is not None:
        return uniform(x if chosen else y, depth)
    return None


def _uniform_both(node: onnx_ir.Node, depth: int) -> Number | None:
    found = [uniform(value, depth) for value in node.inputs]
    if None in found:
        return None
    return np.bool_(_LOGIC[node.op_type]([bool(truth) for truth in found]))


def _uniform_at_least(node: onnx_ir.Node, depth: int) -> Number | None:
    a, b = node.inputs
    if node.op_type in ("LessOrEqual", "Less"):
        a, b = b, a
    low, limit = lower_bound(a, depth), uniform(b, depth)
    if low is None or limit is None or limit.dtype.kind not in "iu":
        return None
    strict = node.op_type in ("Greater", "Less")
    return np.bool_(True) if low > int(limit) or (low == int(limit) and not strict) else None


def _uniform_cast(node: onnx_ir.Node, depth: int) -> Number | None:
    found, target = uniform(node.inputs[0], depth), node.outputs[0].dtype
    if found is None or target is None or target in (onnx_ir.DataType.STRING, onnx_ir.DataType.UNDEFINED) or found.dtype.kind not in "bi":
        return None
    kind = target.numpy()
    if kind.kind not in "bif" or (kind.kind == "i" and not np.iinfo(kind).min <= int(found) <= np.iinfo(kind).max):
        return None
    return found.astype(kind)


def _negation(truths: list[bool]) -> bool:
    return not truths[0]


_LOGIC: dict[str, Callable[[list[bool]], bool]] = {"And": all, "Or": any, "Not": _negation}

_UNIFORM: dict[str, Callable[[onnx_ir.Node, int], Number | None]] = {
    "Gather": _uniform_gather,
    "ConstantOfShape": _uniform_fill,
    "Where": _uniform_where,
    "And": _uniform_both,
    "Or": _uniform_both,
    "Not": _uniform_both,
    "GreaterOrEqual": _uniform_at_least,
    "Greater": _uniform_at_least,
    "LessOrEqual": _uniform_at_least,
    "Less": _uniform_at_least,
    "Cast": _uniform_cast,
}


def lower_bound(value: onnx_ir.Value | None, depth: int = _DEPTH) -> int | None:
    """A number that no element of an integer value is below, else None."""
    if value is None or depth == 0:
        return None
    node = value.producer()
    if node is None:
        data = array(value, limit=4096)
        return int(data.min()) if data is not None and data.size and data.dtype.kind in "iu" else None
    if not is_standard(node):
        return None
    if node.op_type in Shapeless:
        return lower_bound(node.inputs[0], depth - 1)
    if node.op_type == "Range" and value.dtype == onnx_ir.DataType.INT64:
        start, step = integers(node.inputs[0]), integers(node.inputs[2])
        return start[0] if start and step and step[0] > 0 else None
    return 0 if node.op_type in ("Shape", "Size") else None


def counts_along(value: onnx_ir.Value | None, depth: int = _DEPTH) -> int | None:
    """The axis along which a value counts 0, 1, 2 …: the element at index I is `I[axis]`. None where it does not."""
    node = value.producer() if value is not None else None
    if value is None or node is None or depth == 0 or not is_standard(node):
        return None
    if node.op_type == "Range":
        return 0 if integers(node.inputs[0]) == (0,) and integers(node.inputs[2]) == (1,) else None
    if node.op_type == "Unsqueeze":
        axis, axes, dims = counts_along(node.inputs[0], depth - 1), integers(node.inputs[1]), shape_of(value)
        if axis is None or axes is None or dims is None:
            return None
        added = {a % len(dims) for a in axes}
        return [a for a in range(len(dims)) if a not in added][axis]
    if node.op_type == "Expand":
        axis, before, after = counts_along(node.inputs[0], depth - 1), shape_of(node.inputs[0]), shape_of(value)
        if axis is None or before is None or after is None:
            return None
        moved = axis + len(after) - len(before)
        return moved if dims_equal(before[axis], after[moved]) else None
    return None


def covers(dims: tuple[Dim, ...], others: list[tuple[Dim, ...]]) -> bool:
    """True where values of the shapes `others` provably broadcast to `dims` on their own."""
    rank = len(dims)
    return all(any(len(other) >= rank - axis and dims_equal(other[axis - rank], dim) for other in others) for axis, dim in enumerate(dims))


def perm_of(node: onnx_ir.Node) -> tuple[int, ...] | None:
    """A Transpose's permutation, or None where its rank is unknown."""
    given = node.attributes.get("perm")
    if given is not None:
        return None if given.is_ref() else tuple(given.as_ints())
    dims = shape_of(node.inputs[0])
    return None if dims is None else tuple(range(len(dims)))[::-1]


def concat_axis(node: onnx_ir.Node) -> int | None:
    """A Concat's axis counted from the front, or None where its rank is unknown."""
    dims = shape_of(node.outputs[0])
    return None if dims is None else int_attr(node, "axis", 0) % max(1, len(dims))


def bytes_of(value: onnx_ir.Value) -> int | None:
    """The size of a value of static shape, or None where it is not static."""
    shape = static_shape(value)
    if shape is None or value.dtype is None or value.dtype == onnx_ir.DataType.STRING:
        return None
    return int(np.prod(shape, dtype=np.int64)) * max(1, round(value.dtype.itemsize * 8)) // 8
