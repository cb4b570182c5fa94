"""Operators whose inputs broadcast, their arithmetic on shapes, and products.

Of two differing names the package takes the first, yet either may be 1 at run time. Here the result has a name of its own, the same for
the same pair, unless equality is proven.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import onnx_ir
import sympy
from onnx_ir import DataType, Shape

from netwright.ir.dims import (
    UNKNOWN,
    Dim,
    add,
    dims_equal,
    divide_exactly,
    expression,
    is_known,
    multiply,
    proven_unequal,
    subtract,
)
from netwright.ir.opinfo import ELEMENTWISE_BINARY, int_attr
from netwright.ir.shape_context import MAX_CONTENTS, Context, contents
from netwright.ir.shape_rules.common import first_dtype, required, set_output
from netwright.ir.shape_rules.table import register


def broadcast(context: Context, *shapes: Sequence[Dim]) -> tuple[Dim, ...]:
    """The dimensions that arrays of these dimensions have together.

    Raises:
        ValueError: they do not fit: two integers differ and neither is 1.
    """
    rank = max(len(shape) for shape in shapes)
    return tuple(_broadcast_dims(context, [shape[axis - rank] for shape in shapes if len(shape) >= rank - axis]) for axis in range(rank))


def _broadcast_dims(context: Context, dims: Sequence[Dim]) -> Dim:
    first, *others = dims
    if all(other == first for other in others) and is_known(first):
        return first
    integers = {dim for dim in dims if isinstance(dim, int) and dim != 1}
    if len(integers) > 1:
        raise ValueError(f"dimensions {sorted(integers)} do not broadcast")
    if integers:
        return integers.pop()
    symbols = list(dict.fromkeys(dim for dim in dims if not isinstance(dim, int)))
    if len(symbols) == 1:
        return symbols[0]
    symbols = [symbol for symbol in symbols if not any(_caps(symbol, other) for other in symbols)]
    if all(dims_equal(symbols[0], symbol) for symbol in symbols[1:]):
        return symbols[0]
    if any(symbol.value is None for symbol in symbols):
        return context.new_symbolic_dim()
    return context.names.joint("broadcast", *sorted(symbol.value or "" for symbol in symbols))


def _caps(capped: onnx_ir.SymbolicDim, other: onnx_ir.SymbolicDim) -> bool:
    """True for Min(n, other) with n ≥ 2, and for Max(0, other): broadcast with `other`, the result is `other`.

    Min(n, other) either equals `other`, or one of the two is 1, and then both are (exporters cut tables of positions so);
    a dimension is never below 0.
    """
    expr = expression(capped)
    if not isinstance(expr, (sympy.Min, sympy.Max)) or len(expr.args) != 2 or expression(other) not in expr.args:
        return False
    sizes = [int(str(arg)) for arg in expr.args if arg.is_Integer]
    return len(sizes) == 1 and (sizes[0] >= 2 if isinstance(expr, sympy.Min) else sizes[0] <= 0)


_BOOLEAN_RESULT = frozenset({"And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Or", "Xor"})


_Combine: TypeAlias = Callable[[Dim, Dim], Dim]


def _equal(a: Dim, b: Dim) -> Dim:
    if dims_equal(a, b):
        return 1
    return 0 if proven_unequal(a, b) else UNKNOWN


def _smaller(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return a if dims_equal(a, b) else UNKNOWN


def _larger(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return a if dims_equal(a, b) else UNKNOWN


def _quotient(a: Dim, b: Dim) -> Dim:
    """ONNX divides integers towards zero; a whole multiple of the divisor divides symbolically too."""
    if isinstance(a, int) and isinstance(b, int) and b:
        return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    if isinstance(b, int) and b == 1:
        return a
    if not is_known(a) or not is_known(b):
        return UNKNOWN
    if not isinstance(b, int):
        return divide_exactly(a, b)
    return a // b if b >= 1 else UNKNOWN


def _rest(a: Dim, b: Dim) -> Dim:
    return a % b if isinstance(a, int) and isinstance(b, int) and b else UNKNOWN


def _compare(holds: Callable[[int, int], bool]) -> _Combine:
    return lambda a, b: int(holds(a, b)) if isinstance(a, int) and isinstance(b, int) else UNKNOWN


_COMBINE: dict[str, _Combine] = {
    "Add": add,
    "Sub": subtract,
    "Mul": multiply,
    "Div": _quotient,
    "Mod": _rest,
    "Equal": _equal,
    "Less": _compare(lambda a, b: a < b),
    "LessOrEqual": _compare(lambda a, b: a <= b),
    "Greater": _compare(lambda a, b: a > b),
    "GreaterOrEqual": _compare(lambda a, b: a >= b),
    "And": _compare(lambda a, b: bool(a and b)),
    "Or": _compare(lambda a, b: bool(a or b)),
    "Min": _smaller,
    "Max": _larger,
    "Sum": add,
}


def _combined(op_type: str, inputs: Sequence[onnx_ir.Value]) -> list[Dim] | None:
    combine = _COMBINE.get(op_type)
    found = [contents(value) for value in inputs] if combine else []
    columns = [column for column in found if column is not None]
    if combine is None or len(columns) < len(inputs):
        return None
    length = max(len(column) for column in columns)
    if any(len(column) not in (1, length) for column in columns):
        return None
    result = [columns[0][index % len(columns[0])] for index in range(length)]
    for column in columns[1:]:
        result = [combine(a, column[index % len(column)]) for index, a in enumerate(result)]
    return result


@register("", *sorted(ELEMENTWISE_BINARY - {"PRelu", "BitShift"}), since_version=7)
@register("", "BitShift", since_version=11)
@register("", "Max", "Min", "Sum", "Mean", since_version=8)
def infer_elementwise(context: Context, node: onnx_ir.Node) -> None:
    """Operators whose inputs broadcast against each other, and their arithmetic on shapes."""
    inputs = required(node, 1)
    output = node.outputs[0]
    dtype = DataType.BOOL if node.op_type in _BOOLEAN_RESULT else first_dtype(inputs)
    set_output(context, output, broadcast_values(context, inputs), dtype)
    if dtype not in (DataType.INT64, DataType.INT32, DataType.BOOL):
        return
    data = inputs[0] if len(inputs) == 1 else None
    if node.op_type == "Mod" and int_attr(node, "fmod", 0):
        return
    combined = contents(data) if data is not None else _combined(node.op_type, inputs)
    if combined is not None:
        context.set_symbolic_value(output, list(combined))


@register("", "Where", since_version=9)
def infer_where(context: Context, node: onnx_ir.Node) -> None:
    """A choice by element; its contents follow where the condition is known, or does not matter."""
    condition, x, y = required(node, 3)
    set_output(context, node.outputs[0], broadcast_values(context, (condition, x, y)), first_dtype((x, y)))
    flags, taken, left = contents(condition), contents(x), contents(y)
    if taken is None or left is None:
        return
    flags = flags if flags is not None else (UNKNOWN,)
    length = max(len(flags), len(taken), len(left))
    if any(len(column) not in (1, length) for column in (flags, taken, left)):
        return
    chosen: list[Dim] = []
    for index in range(length):
        flag, a, b = flags[index % len(flags)], taken[index % len(taken)], left[index % len(left)]
        chosen.append((a if flag else b) if isinstance(flag, int) else (a if dims_equal(a, b) else UNKNOWN))
    context.set_symbolic_value(node.outputs[0], chosen)


@register("", "Not")
def infer_not(context: Context, node: onnx_ir.Node) -> None:
    """Logical not."""
    (x,) = required(node, 1)
    set_output(context, node.outputs[0], x.shape.dims if x.shape is not None else None, DataType.BOOL)
    data = contents(x)
    if data is not None:
        context.set_symbolic_value(node.outputs[0], [1 - d if isinstance(d, int) else UNKNOWN for d in data])


@register("", "Expand", since_version=8)
def infer_expand(context: Context, node: onnx_ir.Node) -> None:
    """Broadcasting to a shape that is an input."""
    data, target = required(node, 2)
    dims = contents(target)
    if dims is not None and data.shape is not None:
        set_output(context, node.outputs[0], broadcast(context, data.shape.dims, dims), data.dtype)
        known = contents(data)
        if known is not None and len(known) == 1 and len(dims) <= 1 and isinstance(node.outputs[0].shape, Shape):
            count = node.outputs[0].shape.dims[0] if dims else 1
            if isinstance(count, int):
                context.set_symbolic_value(node.outputs[0], list(known) * count)
        return
    length = target.shape[0] if target.shape is not None and target.shape.rank() == 1 else None
    if isinstance(length, int) and data.shape is not None:
        rank = max(length, data.shape.rank())
        set_output(context, node.outputs[0], tuple(context.new_symbolic_dim() for _ in range(rank)), data.dtype)
        return
    set_output(context, node.outputs[0], None, data.dtype)


@register("", "ConstantOfShape", since_version=9)
def infer_constant_of_shape(context: Context, node: onnx_ir.Node) -> None:
    """A tensor of one value, its shape an input."""
    (target,) = required(node, 1)
    attribute = node.attributes.get("value")
    tensor = attribute.as_tensor() if attribute is not None else None
    dtype = tensor.dtype if tensor is not None else DataType.FLOAT
    dims = contents(target)
    length = target.shape[0] if target.shape is not None and target.shape.rank() == 1 else None
    if dims is None and isinstance(length, int):
        dims = (UNKNOWN,) * length
    set_output(context, node.outputs[0], dims, dtype)
    if dims is not None and tensor is not None and len(dims) == 1 and isinstance(dims[0], int) and 0 <= dims[0] <= MAX_CONTENTS:
        context.set_symbolic_value(node.outputs[0], [int(tensor.numpy().reshape(-1)[0])] * dims[0])


@register("", "MatMul")
def infer_matmul(context: Context, node: onnx_ir.Node) -> None:
    """Numpy's matmul; leading dimensions broadcast."""
    a, b = required(node, 2)
    set_output(context, node.outputs[0], matmul_dims(context, a, b), a.dtype or b.dtype)


@register("", "MatMulInteger", since_version=10)
def infer_matmul_integer(context: Context, node: onnx_ir.Node) -> None:
    """Matmul of 8-bit integers, summed in 32 bits."""
    a, b = required(node, 2)
    set_output(context, node.outputs[0], matmul_dims(context, a, b), DataType.INT32)


def matmul_dims(context: Context, a: onnx_ir.Value, b: onnx_ir.Value) -> tuple[Dim, ...] | None:
    """Dimensions of a product; None where a rank is unknown."""
    if a.shape is None or b.shape is None:
        return None
    left, right = a.shape.dims, b.shape.dims
    if not left or not right:
        raise ValueError("MatMul takes no scalars")
    inner, other = left[-1], right[-min(len(right), 2)]
    if isinstance(inner, int) and isinstance(other, int) and inner != other:
        raise ValueError(f"{inner} columns do not meet {other} rows")
    leading = broadcast(context, left[:-2], right[:-2]) if len(left) > 2 or len(right) > 2 else ()
    return (*leading, *(left[-2:-1]), *(right[-1:] if len(right) > 1 else ()))


def broadcast_values(context: Context, inputs: Sequence[onnx_ir.Value]) -> tuple[Dim, ...] | None:
    """Dimensions that some values have together; None where a rank is unknown."""
    shapes = [value.shape.dims for value in inputs if value.shape is not None]
    return broadcast(context, *shapes) if len(shapes) == len(inputs) else None
