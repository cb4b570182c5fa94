"""Operators that move, cut and retype elements: contents of shapes go with them."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir
import sympy
from onnx_ir import DataType
from onnx_shape_inference import OpUsageError

from netwright.ir.dims import (
    UNKNOWN,
    Dim,
    as_dim,
    divide_exactly,
    expression,
    from_expression,
    is_known,
    largest,
    multiply,
    product,
    smallest,
    subtract,
)
from netwright.ir.opinfo import FLOATS, int_attr, ints_attr
from netwright.ir.program import array
from netwright.ir.shape_context import MAX_CONTENTS, Context, contents
from netwright.ir.shape_rules.common import axis_of, first_dtype, length_of, optional_contents, required, set_output
from netwright.ir.shape_rules.table import register

_FAR = 2**31 - 1
"""Slices that end here or further end with the axis."""


@register("", "Slice", since_version=10)
def infer_slice(context: Context, node: onnx_ir.Node) -> None:
    """Slices; bounds are clamped as the standard says, for named dimensions too."""
    data, starts, ends = required(node, 3)
    if data.shape is None:
        set_output(context, node.outputs[0], None, data.dtype)
        return
    dims = list(data.shape.dims)
    first, last = contents(starts), contents(ends)
    count = len(first) if first is not None else length_of(starts)
    axes, steps = optional_contents(node, 3, count), optional_contents(node, 4, count, fill=1)
    if axes is None or not all(isinstance(axis, int) for axis in axes):
        set_output(context, node.outputs[0], tuple(context.new_symbolic_dim() for _ in dims), data.dtype)
        return
    for index, axis in enumerate(axes):
        at = axis_of(axis, len(dims))
        bounds = (first[index], last[index], steps[index]) if first and last and steps else None
        length = slice_length(dims[at], *bounds) if bounds else UNKNOWN
        dims[at] = length if is_known(length) else context.new_symbolic_dim()
    set_output(context, node.outputs[0], dims, data.dtype)
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
    (data,) = required(node, 1)
    _cast(context, node, data, DataType(int_attr(node, "to", 0)))


@register("", "CastLike", since_version=15)
def infer_cast_like(context: Context, node: onnx_ir.Node) -> None:
    """The element type of the second input."""
    data, like = required(node, 2)
    _cast(context, node, data, like.dtype)


def _cast(context: Context, node: onnx_ir.Node, data: onnx_ir.Value, dtype: DataType | None) -> None:
    set_output(context, node.outputs[0], data.shape.dims if data.shape is not None else None, dtype)
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


@register("", "Range", since_version=11)
def infer_range(context: Context, node: onnx_ir.Node) -> None:
    """Numbers from start to limit: ceil((limit − start) / delta) of them, or none."""
    start, limit, delta = required(node, 3)
    dtype = first_dtype((start, limit, delta))
    bounds = [contents(value) for value in (start, limit, delta)]
    first, last, step = (found[0] if found else UNKNOWN for found in bounds)
    length = _steps(first, last, step)
    set_output(context, node.outputs[0], (length if is_known(length) else context.new_symbolic_dim(),), dtype)
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
    (data,) = required(node, 1)
    if data.shape is None:
        for output in node.outputs:
            set_output(context, output, None, data.dtype)
        return
    dims = data.shape.dims
    axis = axis_of(int_attr(node, "axis", 0), len(dims))
    sizes = _part_sizes(context, node, dims[axis])
    known, start = contents(data), 0
    for output, size in zip(node.outputs, sizes, strict=True):
        set_output(context, output, (*dims[:axis], size, *dims[axis + 1 :]), data.dtype)
        if known is None or not isinstance(size, int):
            known = None
            continue
        context.set_symbolic_value(output, known[start : start + size])
        start += size


def _part_sizes(context: Context, node: onnx_ir.Node, size: Dim) -> Sequence[Dim]:
    count = len(node.outputs)
    given = node.inputs[1] if len(node.inputs) > 1 else None
    if given is not None:
        stored = array(given, limit=count)
        sizes: Sequence[Dim] | None = contents(given) if stored is None else [int(size) for size in stored]
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
    data, target = required(node, 2)
    output = node.outputs[0]
    given = data.shape.dims if data.shape is not None else None
    wanted = contents(target)
    if wanted is None:
        length = target.shape[0] if target.shape is not None and target.shape.rank() == 1 else None
        dims = tuple(context.new_symbolic_dim() for _ in range(length)) if isinstance(length, int) else None
        set_output(context, output, dims, data.dtype)
        return
    if sum(1 for dim in wanted if dim == -1) > 1:
        raise OpUsageError(node, "at most one dimension of Reshape can be -1")
    copied = not int_attr(node, "allowzero", 0)
    shape = [_kept(given, at) if dim == 0 and copied else dim for at, dim in enumerate(wanted)]
    if -1 in shape:
        others = [dim for dim in shape if dim != -1]
        shape[shape.index(-1)] = _left_over(given, others) if given is not None else UNKNOWN
    set_output(context, output, tuple(dim if is_known(dim) else context.new_symbolic_dim() for dim in shape), data.dtype)
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
    (data,) = required(node, 1)
    output = node.outputs[0]
    dims = data.shape.dims if data.shape is not None else None
    given = node.inputs[1] if len(node.inputs) > 1 else None
    axes = contents(given) if given is not None else (ints_attr(node, "axes") or None)
    if dims is None or (axes is None and (given is not None or not all(isinstance(d, int) for d in dims))):
        set_output(context, output, None, data.dtype)
        return
    if axes is not None and not all(isinstance(axis, int) for axis in axes):
        rank = len(dims) - len(axes)
        set_output(context, output, tuple(context.new_symbolic_dim() for _ in range(rank)), data.dtype)
        return
    dropped = {axis_of(axis, len(dims)) for axis in axes} if axes is not None else {at for at, d in enumerate(dims) if d == 1}
    set_output(context, output, tuple(d for at, d in enumerate(dims) if at not in dropped), data.dtype)
    known = contents(data)
    if known is not None:
        context.set_symbolic_value(output, known)


@register("", "Unique", since_version=11)
def infer_unique(context: Context, node: onnx_ir.Node) -> None:
    """Distinct elements, or distinct slices along an axis: some number of them."""
    (data,) = required(node, 1)
    count = context.new_symbolic_dim()
    dims = data.shape.dims if data.shape is not None else None
    whole: Sequence[Dim] | None = (count,)
    inverse: Dim = product(dims) if dims is not None else UNKNOWN
    if "axis" in node.attributes:
        at = axis_of(int_attr(node, "axis", 0), len(dims)) if dims is not None else 0
        whole = (*dims[:at], count, *dims[at + 1 :]) if dims is not None else None
        inverse = dims[at] if dims is not None else UNKNOWN
    shapes: tuple[Sequence[Dim] | None, ...] = (whole, (count,), (inverse,), (count,))
    for index, (output, shape) in enumerate(zip(node.outputs, shapes, strict=False)):
        set_output(context, output, shape, DataType.INT64 if index else data.dtype)
