"""netwright's own shape rules: where the package has none, or where it assumes more than is proven.

Broadcasting is the main case: of two differing names the package takes the first, yet either may be 1 at run time. Here
the result has a name of its own, the same for the same pair. A rule is a function of a `Context` and a node that sets
types, shapes and contents of the node's outputs. Other packages add rules with `register`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

import onnx_ir
import sympy
from onnx_ir import DataType, Shape
from onnx_shape_inference import OpUsageError, registry

from netwright.ir.dims import (
    UNKNOWN,
    Dim,
    add,
    as_dim,
    dims_equal,
    divide_exactly,
    expression,
    from_expression,
    is_known,
    largest,
    multiply,
    product,
    proven_unequal,
    smallest,
    subtract,
)
from netwright.ir.opinfo import CONTRIB_DOMAIN, ELEMENTWISE_BINARY, FLOATS, int_attr, ints_attr, str_attr
from netwright.ir.shape_context import MAX_CONTENTS, Context, contents

Rule: TypeAlias = Callable[[Context, onnx_ir.Node], None]

_RULES: dict[tuple[str, str], list[tuple[int, Rule]]] = {}


def register(domain: str, *op_types: str, since_version: int = 1) -> Callable[[Rule], Rule]:
    """Make a function the shape rule of operators, ahead of the package's own.

    Args:
        domain: the operators' domain; empty for the standard one.
        op_types: their names.
        since_version: the first version of the domain that the rule is for.
    """

    def add_rule(rule: Rule) -> Rule:
        for op_type in op_types:
            rules = _RULES.setdefault((domain, op_type), [])
            rules.append((since_version, rule))
            rules.sort(key=lambda entry: -entry[0])
        return rule

    return add_rule


def rule_for(domain: str, op_type: str, version: int) -> Rule | None:
    """The shape rule of an operator at a version of its domain: netwright's own, else the package's, else None."""
    for since, rule in _RULES.get((domain, op_type), ()):
        if version >= since:
            return rule
    registry.collect()
    return registry.get(domain, op_type, version)


def has_rule(domain: str, op_type: str) -> bool:
    """True where any version of an operator has a shape rule."""
    registry.collect()
    return (domain, op_type) in _RULES or registry.has(domain, op_type)


# ---- broadcasting -------------------------------------------------------------------------------------------------


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
    inputs = _required(node, 1)
    output = node.outputs[0]
    dtype = DataType.BOOL if node.op_type in _BOOLEAN_RESULT else _first_dtype(inputs)
    _set(context, output, _broadcast_values(context, inputs), dtype)
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
    condition, x, y = _required(node, 3)
    _set(context, node.outputs[0], _broadcast_values(context, (condition, x, y)), _first_dtype((x, y)))
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
    (x,) = _required(node, 1)
    _set(context, node.outputs[0], x.shape.dims if x.shape is not None else None, DataType.BOOL)
    data = contents(x)
    if data is not None:
        context.set_symbolic_value(node.outputs[0], [1 - d if isinstance(d, int) else UNKNOWN for d in data])


@register("", "Expand", since_version=8)
def infer_expand(context: Context, node: onnx_ir.Node) -> None:
    """Broadcasting to a shape that is an input."""
    data, target = _required(node, 2)
    dims = contents(target)
    if dims is not None and data.shape is not None:
        _set(context, node.outputs[0], broadcast(context, data.shape.dims, dims), data.dtype)
        known = contents(data)
        if known is not None and len(known) == 1 and len(dims) <= 1 and isinstance(node.outputs[0].shape, Shape):
            count = node.outputs[0].shape.dims[0] if dims else 1
            if isinstance(count, int):
                context.set_symbolic_value(node.outputs[0], list(known) * count)
        return
    length = target.shape[0] if target.shape is not None and target.shape.rank() == 1 else None
    if isinstance(length, int) and data.shape is not None:
        rank = max(length, data.shape.rank())
        _set(context, node.outputs[0], tuple(context.new_symbolic_dim() for _ in range(rank)), data.dtype)
        return
    _set(context, node.outputs[0], None, data.dtype)


@register("", "ConstantOfShape", since_version=9)
def infer_constant_of_shape(context: Context, node: onnx_ir.Node) -> None:
    """A tensor of one value, its shape an input."""
    (target,) = _required(node, 1)
    attribute = node.attributes.get("value")
    tensor = attribute.as_tensor() if attribute is not None else None
    dtype = tensor.dtype if tensor is not None else DataType.FLOAT
    dims = contents(target)
    length = target.shape[0] if target.shape is not None and target.shape.rank() == 1 else None
    if dims is None and isinstance(length, int):
        dims = (UNKNOWN,) * length
    _set(context, node.outputs[0], dims, dtype)
    if dims is not None and tensor is not None and len(dims) == 1 and isinstance(dims[0], int) and 0 <= dims[0] <= MAX_CONTENTS:
        context.set_symbolic_value(node.outputs[0], [int(tensor.numpy().reshape(-1)[0])] * dims[0])


@register("", "MatMul")
def infer_matmul(context: Context, node: onnx_ir.Node) -> None:
    """Numpy's matmul; leading dimensions broadcast."""
    a, b = _required(node, 2)
    _set(context, node.outputs[0], _matmul_dims(context, a, b), a.dtype or b.dtype)


@register("", "MatMulInteger", since_version=10)
def infer_matmul_integer(context: Context, node: onnx_ir.Node) -> None:
    """Matmul of 8-bit integers, summed in 32 bits."""
    a, b = _required(node, 2)
    _set(context, node.outputs[0], _matmul_dims(context, a, b), DataType.INT32)


def _matmul_dims(context: Context, a: onnx_ir.Value, b: onnx_ir.Value) -> tuple[Dim, ...] | None:
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


def _broadcast_values(context: Context, inputs: Sequence[onnx_ir.Value]) -> tuple[Dim, ...] | None:
    shapes = [value.shape.dims for value in inputs if value.shape is not None]
    return broadcast(context, *shapes) if len(shapes) == len(inputs) else None


# ---- moving elements ----------------------------------------------------------------------------------------------

_FAR = 2**31 - 1
"""Slices that end here or further end with the axis."""


@register("", "Slice", since_version=10)
def infer_slice(context: Context, node: onnx_ir.Node) -> None:
    """Slices; bounds are clamped as the standard says, for named dimensions too."""
    data, starts, ends = _required(node, 3)
    if data.shape is None:
        _set(context, node.outputs[0], None, data.dtype)
        return
    dims = list(data.shape.dims)
    first, last = contents(starts), contents(ends)
    count = len(first) if first is not None else _length(starts)
    axes, steps = _optional_contents(node, 3, count), _optional_contents(node, 4, count, fill=1)
    if axes is None or not all(isinstance(axis, int) for axis in axes):
        _set(context, node.outputs[0], tuple(context.new_symbolic_dim() for _ in dims), data.dtype)
        return
    for index, axis in enumerate(axes):
        at = _axis(axis, len(dims))
        bounds = (first[index], last[index], steps[index]) if first and last and steps else None
        length = slice_length(dims[at], *bounds) if bounds else UNKNOWN
        dims[at] = length if is_known(length) else context.new_symbolic_dim()
    _set(context, node.outputs[0], dims, data.dtype)
    known = contents(data)
    if known is None or not first or not last or not steps or len(dims) != 1:
        return
    bounds = (first[0], last[0], steps[0])
    if all(isinstance(bound, int) for bound in bounds):
        context.set_symbolic_value(node.outputs[0], known[slice(*_python_slice(*bounds))])


def slice_length(size: Dim, start: Dim, end: Dim, step: Dim) -> Dim:
    """How many elements a slice takes from an axis; unknown where that depends on more than can be told."""
    if not isinstance(step, int) or step == 0 or not (is_known(size) and is_known(start) and is_known(end)):
        return UNKNOWN
    if isinstance(size, int) and isinstance(start, int) and isinstance(end, int):
        return len(range(size)[slice(*_python_slice(start, end, step))])
    if step < 0:
        whole = isinstance(start, int) and isinstance(end, int) and (start == -1 or start >= _FAR) and end <= -_FAR
        return size if whole and step == -1 else UNKNOWN
    low, high = _clamped(start, size), _clamped(end, size)
    if low is None or high is None:
        return UNKNOWN
    reach = as_dim(from_expression(largest(0, high - low)))
    return reach if step == 1 else as_dim(-((-reach) // step))


def _clamped(bound: Dim, size: Dim) -> sympy.Expr | None:
    """A slice's bound, counted from the axis's start and kept within it."""
    whole = expression(size)
    if isinstance(bound, int) and abs(bound) >= _FAR:
        return whole if bound > 0 else sympy.Integer(0)
    found = expression(bound)
    if whole is None or found is None:
        return None
    if found == 0:
        return found
    if found.is_nonnegative:
        return smallest(found, whole)
    return largest(0, whole + found) if found.is_negative else None


def _python_slice(start: Dim, end: Dim, step: Dim) -> tuple[int, int | None, int]:
    first, last, stride = int(str(start)), int(str(end)), int(str(step))
    return first, (None if stride < 0 and last <= -_FAR else last), stride


@register("", "Cast")
def infer_cast(context: Context, node: onnx_ir.Node) -> None:
    """Another element type; contents follow to integers and booleans, also from small float constants."""
    (data,) = _required(node, 1)
    _cast(context, node, data, DataType(int_attr(node, "to", 0)))


@register("", "CastLike", since_version=15)
def infer_cast_like(context: Context, node: onnx_ir.Node) -> None:
    """The element type of the second input."""
    data, like = _required(node, 2)
    _cast(context, node, data, like.dtype)


def _cast(context: Context, node: onnx_ir.Node, data: onnx_ir.Value, dtype: DataType | None) -> None:
    _set(context, node.outputs[0], data.shape.dims if data.shape is not None else None, dtype)
    known = contents(data) if dtype in (DataType.INT64, DataType.INT32, DataType.BOOL) else None
    if known is None and dtype in (DataType.INT64, DataType.INT32):
        known = _truncated(data)
    if known is None:
        return
    if dtype == DataType.BOOL:
        known = tuple(int(element != 0) if isinstance(element, int) else UNKNOWN for element in known)
    context.set_symbolic_value(node.outputs[0], known)


def _truncated(data: onnx_ir.Value) -> tuple[Dim, ...] | None:
    """A small float constant's elements, cut to integers."""
    if data.dtype not in FLOATS:
        return None
    tensor = onnx_ir.convenience.get_const_tensor(data)
    if tensor is None or tensor.size > MAX_CONTENTS or tensor.shape.rank() > 1:
        return None
    elements = [float(element) for element in tensor.numpy().reshape(-1)]
    return tuple(int(element) for element in elements) if all(abs(element) < _FAR for element in elements) else None


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
        _set(context, node.outputs[0], None, dtype)
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
    _set(context, node.outputs[0], (batch, w.shape[0], *result), dtype)


@lru_cache(maxsize=4096)
def windows(size: Dim, reach: int, stride: int, *, same: bool = False) -> Dim:
    """How many windows fit: `floor((size − reach) / stride) + 1`; with padding to the same size, `ceil(size / stride)`."""
    if stride == 1 and (same or reach == 1):
        return size
    if same:
        return as_dim(-((-size) // stride))
    return as_dim(add(subtract(size, reach) // stride, 1))


@register("", "Range", since_version=11)
def infer_range(context: Context, node: onnx_ir.Node) -> None:
    """Numbers from start to limit: ceil((limit − start) / delta) of them, or none."""
    start, limit, delta = _required(node, 3)
    dtype = _first_dtype((start, limit, delta))
    bounds = [contents(value) for value in (start, limit, delta)]
    first, last, step = (found[0] if found else UNKNOWN for found in bounds)
    length = _steps(first, last, step)
    _set(context, node.outputs[0], (length if is_known(length) else context.new_symbolic_dim(),), dtype)
    if isinstance(first, int) and isinstance(last, int) and isinstance(step, int) and isinstance(length, int) and length <= MAX_CONTENTS:
        context.set_symbolic_value(node.outputs[0], list(range(first, last, step)))


def _steps(first: Dim, last: Dim, step: Dim) -> Dim:
    if isinstance(first, int) and isinstance(last, int) and isinstance(step, int) and step:
        return len(range(first, last, step))
    if not isinstance(step, int) or step < 1 or not (is_known(first) and is_known(last)):
        return UNKNOWN
    low, high = expression(first), expression(last)
    if low is None or high is None:
        return UNKNOWN
    reach = last if first == 0 and not isinstance(last, int) and high.is_nonnegative else from_expression(largest(0, high - low))
    return as_dim(reach) if step == 1 else as_dim(-((-reach) // step))


@register("", "Split", since_version=2)
def infer_split(context: Context, node: onnx_ir.Node) -> None:
    """Parts of given sizes, or equal ones."""
    (data,) = _required(node, 1)
    if data.shape is None:
        for output in node.outputs:
            _set(context, output, None, data.dtype)
        return
    dims = data.shape.dims
    axis = _axis(int_attr(node, "axis", 0), len(dims))
    sizes = _part_sizes(context, node, dims[axis])
    known, start = contents(data), 0
    for output, size in zip(node.outputs, sizes, strict=True):
        _set(context, output, (*dims[:axis], size, *dims[axis + 1 :]), data.dtype)
        if known is None or not isinstance(size, int):
            known = None
            continue
        context.set_symbolic_value(output, known[start : start + size])
        start += size


def _part_sizes(context: Context, node: onnx_ir.Node, size: Dim) -> Sequence[Dim]:
    count = len(node.outputs)
    given = node.inputs[1] if len(node.inputs) > 1 else None
    if given is not None:
        sizes = contents(given)
        return [d if is_known(d) else context.new_symbolic_dim() for d in sizes or (UNKNOWN,) * count]
    stated = ints_attr(node, "split")
    if stated:
        return stated
    if not int_attr(node, "num_outputs", 0):
        return [as_dim(size // count)] * count
    part = as_dim(-((-size) // count))
    return [*[part] * (count - 1), subtract(size, multiply(part, count - 1))]


@register("", "Reshape", since_version=5)
def infer_reshape(context: Context, node: onnx_ir.Node) -> None:
    """The shape asked for; of the part left open (-1), what the other parts leave of the elements."""
    data, target = _required(node, 2)
    output = node.outputs[0]
    given = data.shape.dims if data.shape is not None else None
    wanted = contents(target)
    if wanted is None:
        length = target.shape[0] if target.shape is not None and target.shape.rank() == 1 else None
        dims = tuple(context.new_symbolic_dim() for _ in range(length)) if isinstance(length, int) else None
        _set(context, output, dims, data.dtype)
        return
    if sum(1 for dim in wanted if dim == -1) > 1:
        raise OpUsageError(node, "at most one dimension of Reshape can be -1")
    copied = not int_attr(node, "allowzero", 0)
    shape = [_kept(given, at) if dim == 0 and copied else dim for at, dim in enumerate(wanted)]
    if -1 in shape:
        others = [dim for dim in shape if dim != -1]
        shape[shape.index(-1)] = _left_over(given, others) if given is not None else UNKNOWN
    _set(context, output, tuple(dim if is_known(dim) else context.new_symbolic_dim() for dim in shape), data.dtype)
    known = contents(data)
    if known is not None and len(shape) <= 1:
        context.set_symbolic_value(output, list(known))


def _kept(dims: Sequence[Dim] | None, at: int) -> Dim:
    return dims[at] if dims is not None and at < len(dims) else UNKNOWN


def _left_over(given: Sequence[Dim], others: Sequence[Dim]) -> Dim:
    """Elements of a tensor over those of the parts known; equal dimensions cancel before anything is multiplied (sympy is slow)."""
    if not all(is_known(dim) for dim in (*given, *others)) or any(isinstance(dim, int) and dim <= 0 for dim in others):
        return UNKNOWN
    above, below = list(given), list[Dim]()
    for dim in others:
        if dim in above:
            above.remove(dim)
        else:
            below.append(dim)
    total, taken = product(above), product(below)
    if isinstance(taken, int):
        return total if taken == 1 else as_dim(total // taken)
    return divide_exactly(total, taken)


@register("", "Squeeze")
def infer_squeeze(context: Context, node: onnx_ir.Node) -> None:
    """Drops axes of length 1; which, is known if they are given as constants or all dimensions are integers."""
    (data,) = _required(node, 1)
    output = node.outputs[0]
    dims = data.shape.dims if data.shape is not None else None
    given = node.inputs[1] if len(node.inputs) > 1 else None
    axes = contents(given) if given is not None else (ints_attr(node, "axes") or None)
    if dims is None or (axes is None and (given is not None or not all(isinstance(d, int) for d in dims))):
        _set(context, output, None, data.dtype)
        return
    if axes is not None and not all(isinstance(axis, int) for axis in axes):
        rank = len(dims) - len(axes)
        _set(context, output, tuple(context.new_symbolic_dim() for _ in range(rank)), data.dtype)
        return
    dropped = {_axis(axis, len(dims)) for axis in axes} if axes is not None else {at for at, d in enumerate(dims) if d == 1}
    _set(context, output, tuple(d for at, d in enumerate(dims) if at not in dropped), data.dtype)
    known = contents(data)
    if known is not None:
        context.set_symbolic_value(output, known)


@register("", "Unique", since_version=11)
def infer_unique(context: Context, node: onnx_ir.Node) -> None:
    """Distinct elements, or distinct slices along an axis: some number of them."""
    (data,) = _required(node, 1)
    count = context.new_symbolic_dim()
    dims = data.shape.dims if data.shape is not None else None
    whole: Sequence[Dim] | None = (count,)
    inverse: Dim = product(dims) if dims is not None else UNKNOWN
    if "axis" in node.attributes:
        at = _axis(int_attr(node, "axis", 0), len(dims)) if dims is not None else 0
        whole = (*dims[:at], count, *dims[at + 1 :]) if dims is not None else None
        inverse = dims[at] if dims is not None else UNKNOWN
    shapes: tuple[Sequence[Dim] | None, ...] = (whole, (count,), (inverse,), (count,))
    for index, (output, shape) in enumerate(zip(node.outputs, shapes, strict=False)):
        _set(context, output, shape, DataType.INT64 if index else data.dtype)


@register("", "Resize", since_version=10)
def infer_resize(context: Context, node: onnx_ir.Node) -> None:
    """As the package's, but sizes that bend to an aspect ratio are unknown."""
    _package_rule(context, node)
    output = node.outputs[0]
    if str_attr(node, "keep_aspect_ratio_policy", "stretch") == "stretch" or output.shape is None:
        return
    rank = output.shape.rank()
    axes = [_axis(axis, rank) for axis in ints_attr(node, "axes")] or range(rank)
    _set(context, output, [context.new_symbolic_dim() if at in axes else d for at, d in enumerate(output.shape.dims)], output.dtype)


@register("", "AveragePool", "MaxPool", "LpPool")
def infer_pool(context: Context, node: onnx_ir.Node) -> None:
    """As the package's, but rounding up named sizes gives unknown ones (a last window may start in the padding and not count)."""
    _package_rule(context, node)
    if not int_attr(node, "ceil_mode", 0):
        return
    for output in node.outputs:
        if output.shape is not None:
            dims = [d if isinstance(d, int) or at < 2 else context.new_symbolic_dim() for at, d in enumerate(output.shape.dims)]
            _set(context, output, dims, output.dtype)


def _package_rule(context: Context, node: onnx_ir.Node) -> None:
    registry.collect()
    rule = registry.get(node.domain, node.op_type, node.version or context.get_opset_version(node.domain))
    if rule is None:
        raise OpUsageError(node, "the package has no rule for this version")
    rule(context, node)


def _axis(axis: Dim, rank: int) -> int:
    if not isinstance(axis, int) or not -rank <= axis < max(rank, 1):
        raise ValueError(f"axis {axis} is out of range for rank {rank}")
    return axis % rank if rank else 0


def _length(value: onnx_ir.Value) -> int:
    size = value.shape[0] if value.shape is not None and value.shape.rank() == 1 else None
    if not isinstance(size, int):
        raise ValueError(f"the length of %{value.name} is unknown")
    return size


def _optional_contents(node: onnx_ir.Node, index: int, count: int, *, fill: int | None = None) -> Sequence[Dim] | None:
    """Contents of an optional input; where it is left out, 0, 1, 2 … or `fill` as often."""
    value = node.inputs[index] if len(node.inputs) > index else None
    if value is not None:
        return contents(value)
    return range(count) if fill is None else (fill,) * count


# ---- com.microsoft ------------------------------------------------------------------------------------------------


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
    a, b, scale = _required(node, 3)
    _set(context, node.outputs[0], _matmul_dims(context, a, b), scale.dtype)


@register(CONTRIB_DOMAIN, "GatherBlockQuantized")
def infer_gather_block_quantized(context: Context, node: onnx_ir.Node) -> None:
    """A look-up in a table of 2, 4 or 8 bits, scaled to float; uint8 tables hold 8 / bits elements a byte in the last axis."""
    data, indices, scales = _required(node, 3)
    if data.shape is None or indices.shape is None:
        _set(context, node.outputs[0], None, scales.dtype)
        return
    dims = list(data.shape.dims)
    axis = int_attr(node, "gather_axis", 0) % len(dims)
    if data.dtype == DataType.UINT8:
        dims[-1] = multiply(dims[-1], 8 // int_attr(node, "bits", 4))
    _set(context, node.outputs[0], (*dims[:axis], *indices.shape.dims, *dims[axis + 1 :]), scales.dtype)


@register(CONTRIB_DOMAIN, "DynamicQuantizeLSTM")
def infer_dynamic_quantize_lstm(context: Context, node: onnx_ir.Node) -> None:
    """As LSTM: Y [seq, directions, batch, hidden], Y_h and Y_c [directions, batch, hidden]; but R is [directions, hidden, 4·hidden]."""
    x, _, r = _required(node, 3)
    directions = 2 if str_attr(node, "direction", "forward") == "bidirectional" else 1
    hidden: Dim = int_attr(node, "hidden_size", 0) or (r.shape[1] if r.shape is not None and r.shape.rank() == 3 else UNKNOWN)
    for index, output in enumerate(node.outputs):
        if x.shape is None:
            _set(context, output, None, x.dtype)
            continue
        seq, batch = x.shape.dims[:2]
        _set(context, output, (seq, directions, batch, hidden) if index == 0 else (directions, batch, hidden), x.dtype)


@register(CONTRIB_DOMAIN, "NhwcMaxPool")
def infer_nhwc_max_pool(context: Context, node: onnx_ir.Node) -> None:
    """Max pooling with channels last, on 8-bit integers."""
    (x,) = _required(node, 1)
    if x.shape is None:
        _set(context, node.outputs[0], None, x.dtype)
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
    _set(context, node.outputs[0], (batch, *result, channels), x.dtype)


# ---- helpers ------------------------------------------------------------------------------------------------------


def _required(node: onnx_ir.Node, count: int) -> tuple[onnx_ir.Value, ...]:
    inputs = tuple(value for value in node.inputs if value is not None)
    if len(inputs) < count or any(value is None for value in node.inputs[:count]):
        raise OpUsageError(node, f"{count} inputs needed, {len(inputs)} given")
    return inputs[:count] if node.op_type not in _VARIADIC else inputs


_VARIADIC = frozenset({"Max", "Min", "Sum", "Mean", *ELEMENTWISE_BINARY})


def _first_dtype(values: Sequence[onnx_ir.Value]) -> DataType | None:
    return next((value.dtype for value in values if value.dtype is not None), None)


def _set(context: Context, value: onnx_ir.Value, dims: Sequence[Dim] | None, dtype: DataType | None) -> None:
    context.set_shape_and_dtype(value, Shape(tuple(dims)) if dims is not None else None, dtype)
