"""Numbers that a graph spells out: constants, and arithmetic on them and on static sizes.

torch's exporter writes the scale of an attention as `1 / sqrt(cast(shape(q)[-1]))`, and a fill value as a cast or expanded
constant. Only values of rank 0 or 1 are followed; sizes that are not static are unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import onnx_ir

from netwright.ir.dims import as_dim, shape_of
from netwright.ir.opinfo import has_references, int_attr
from netwright.ir.program import constant

Number = float | None
"""None where unknown."""

_LARGEST = 64
_DEPTH = 16


def number(value: onnx_ir.Value | None, beside: onnx_ir.Value | None = None) -> float | None:
    """The number that a value of one element is sure to have, else None.

    Args:
        value: any value.
        beside: an operand whose rank the value must not raise by broadcasting.
    """
    if value is None or not _fits(value, beside):
        return None
    found = _numbers(value, _DEPTH)
    return found[0] if found is not None and len(found) == 1 else None


def _fits(value: onnx_ir.Value, beside: onnx_ir.Value | None) -> bool:
    tensor = constant(value)
    dims = shape_of(value) if tensor is None else (tensor.size,) * len(tensor.shape)
    if dims is None or any(as_dim(dim) != 1 for dim in dims):
        return False
    return beside is None or len(dims) == 0 or (beside.shape is not None and len(beside.shape) >= len(dims))


def _numbers(value: onnx_ir.Value | None, depth: int) -> list[Number] | None:
    """The elements of a value of rank 0 or 1, or those of one element."""
    if value is None or depth == 0:
        return None
    tensor = constant(value)
    if tensor is not None:
        if tensor.size > _LARGEST or tensor.dtype in (onnx_ir.DataType.STRING, onnx_ir.DataType.UNDEFINED):
            return None
        return [float(element) for element in tensor.numpy().reshape(-1)]
    node = value.producer()
    if node is None or node.domain not in ("", "ai.onnx") or has_references(node) or node.op_type not in _FOLLOWED:
        return None
    return _FOLLOWED[node.op_type](node, depth - 1)


def _sizes(node: onnx_ir.Node, depth: int) -> list[Number] | None:
    dims = shape_of(node.inputs[0])
    if dims is None:
        return None
    sizes: list[Number] = [float(dim) if isinstance(dim, int) else None for dim in map(as_dim, dims)]
    end = node.attributes["end"].as_int() if "end" in node.attributes else None
    return sizes[int_attr(node, "start", 0) : end]


def _same(node: onnx_ir.Node, depth: int) -> list[Number] | None:
    """Elements as they are: reshaped, cast, or repeated where there is one only."""
    found = _numbers(node.inputs[0], depth)
    if found is None or (node.op_type == "Expand" and len(found) != 1):
        return None
    if node.op_type in ("Cast", "CastLike") and (node.outputs[0].dtype is None or node.outputs[0].dtype.is_integer()):
        return [None if one is None or not math.isfinite(one) else float(int(one)) for one in found]
    return found


def _sliced(node: onnx_ir.Node, depth: int) -> list[Number] | None:
    data = _numbers(node.inputs[0], depth)
    settings = [_numbers(value, depth) if value is not None else None for value in node.inputs[1:]]
    firsts = [None if found is None or len(found) != 1 else found[0] for found in settings]
    if data is None or len(firsts) < 2 or firsts[0] is None or firsts[1] is None:
        return None
    step = 1 if len(firsts) < 4 else firsts[3]
    return None if step is None or step <= 0 else data[int(firsts[0]) : int(firsts[1]) : int(step)]


def _gathered(node: onnx_ir.Node, depth: int) -> list[Number] | None:
    data, places = _numbers(node.inputs[0], depth), _numbers(node.inputs[1], depth)
    if data is None or places is None:
        return None
    return [None if place is None or not -len(data) <= place < len(data) else data[int(place)] for place in places]


def _joined(node: onnx_ir.Node, depth: int) -> list[Number] | None:
    parts = [_numbers(value, depth) for value in node.inputs]
    return None if any(part is None for part in parts) else [one for part in parts if part is not None for one in part]


def _unary(function: Callable[[float], float]) -> Callable[[onnx_ir.Node, int], list[Number] | None]:
    def follow(node: onnx_ir.Node, depth: int) -> list[Number] | None:
        found = _numbers(node.inputs[0], depth)
        return None if found is None else [None if one is None else _tried(function, one) for one in found]

    return follow


def _binary(function: Callable[[float, float], float]) -> Callable[[onnx_ir.Node, int], list[Number] | None]:
    def follow(node: onnx_ir.Node, depth: int) -> list[Number] | None:
        left, right = _numbers(node.inputs[0], depth), _numbers(node.inputs[1], depth)
        if left is None or right is None or len(left) != 1 or len(right) != 1:
            return None
        return [None if left[0] is None or right[0] is None else _tried(function, left[0], right[0])]

    return follow


def _tried(function: Callable[..., float], *operands: float) -> Number:
    try:
        return function(*operands)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None


def _power(base: float, exponent: float) -> float:
    return math.pow(base, exponent)


_FOLLOWED: Mapping[str, Callable[[onnx_ir.Node, int], list[Number] | None]] = {
    "Shape": _sizes,
    **dict.fromkeys(("Identity", "Cast", "CastLike", "Reshape", "Squeeze", "Unsqueeze", "Expand"), _same),
    "Slice": _sliced,
    "Gather": _gathered,
    "Concat": _joined,
    "Sqrt": _unary(math.sqrt),
    "Neg": _unary(lambda one: -one),
    "Reciprocal": _unary(lambda one: 1.0 / one),
    "Add": _binary(lambda one, other: one + other),
    "Sub": _binary(lambda one, other: one - other),
    "Mul": _binary(lambda one, other: one * other),
    "Div": _binary(lambda one, other: one / other),
    "Pow": _binary(_power),
}
