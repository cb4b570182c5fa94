"""Evaluates one node on constant inputs: a table for what shape arithmetic and weight preparation use, onnx's reference
evaluator for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnx_ir
from onnx_ir import DataType

from netwright.ir.errors import NetwrightError
from netwright.ir.opinfo import has_references, int_attr, ints_attr, is_standard

Arrays = Sequence[np.ndarray]
Evaluator = Callable[[onnx_ir.Node, Arrays], np.ndarray]


class EvaluationError(NetwrightError):
    """A node cannot be evaluated: the reference evaluator lacks its operator or refuses its inputs."""


def evaluate(node: onnx_ir.Node, inputs: Sequence[np.ndarray | None], opset: int) -> list[np.ndarray]:
    """The node's outputs.

    Args:
        node: a standard node without subgraphs.
        inputs: one array for each of its inputs, `None` for those left out.
        opset: version of the standard operators.

    Raises:
        EvaluationError: with the reference evaluator's reason.
    """
    given = [array for array in inputs if array is not None]
    row = in_table(node)
    if row is not None and len(given) == len(inputs):
        with np.errstate(all="ignore"):
            return [np.array(row(node, given), order="C", copy=None)]
    return _by_reference(node, inputs, opset)


def in_table(node: onnx_ir.Node) -> Evaluator | None:
    """The table's entry for a node, if there is one that holds for it."""
    if not is_standard(node) or len(node.outputs) != 1 or has_references(node):
        return None
    row = TABLE.get(node.op_type)
    if row is None or any(value is None or value.dtype is None or value.dtype not in _PLAIN for value in (*node.inputs, *node.outputs)):
        return None
    return row


_PLAIN = frozenset(
    {
        DataType.BOOL,
        DataType.INT8,
        DataType.INT16,
        DataType.INT32,
        DataType.INT64,
        DataType.UINT8,
        DataType.UINT16,
        DataType.UINT32,
        DataType.UINT64,
        DataType.FLOAT16,
        DataType.FLOAT,
        DataType.DOUBLE,
    }
)
"""Types that numpy computes in itself."""


def _divide(node: onnx_ir.Node, arrays: Arrays) -> np.ndarray:
    a, b = arrays
    if a.dtype.kind == "f":
        return np.divide(a, b)
    if not b.all():
        raise EvaluationError("integer division by zero", place=node.outputs[0].name)
    return ((np.abs(a) // np.abs(b)) * np.sign(a) * np.sign(b)).astype(a.dtype) if a.dtype.kind == "i" else a // b


def _cast(node: onnx_ir.Node, arrays: Arrays) -> np.ndarray:
    target = node.outputs[0].dtype
    if target is None:
        raise EvaluationError("the type to cast to is unknown", place=node.outputs[0].name)
    return arrays[0].astype(target.numpy())


def _squeeze(node: onnx_ir.Node, arrays: Arrays) -> np.ndarray:
    axes = tuple(int(axis) for axis in arrays[1]) if len(arrays) > 1 else None
    return np.squeeze(arrays[0], axes)


def _unsqueeze(node: onnx_ir.Node, arrays: Arrays) -> np.ndarray:
    return np.expand_dims(arrays[0], tuple(int(axis) for axis in arrays[1].reshape(-1)))


def _reshape(node: onnx_ir.Node, arrays: Arrays) -> np.ndarray:
    data, target = arrays[0], [int(dim) for dim in arrays[1]]
    if not int_attr(node, "allowzero", 0):
        target = [data.shape[axis] if dim == 0 else dim for axis, dim in enumerate(target)]
    return data.reshape(target)


def _transpose(node: onnx_ir.Node, arrays: Arrays) -> np.ndarray:
    perm = ints_attr(node, "perm")
    return np.transpose(arrays[0], perm or None)


def _slice(node: onnx_ir.Node, arrays: Arrays) -> np.ndarray:
    data, starts, ends, *more = arrays
    axes = more[0] if more else np.arange(len(starts))
    steps = more[1] if len(more) > 1 else np.ones(len(starts), np.int64)
    index = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        stop: int | None = int(end)
        if step < 0 and int(end) < -data.shape[int(axis)]:
            stop = None
        index[int(axis)] = slice(int(start), stop, int(step))
    return data[tuple(index)]


def _gather(node: onnx_ir.Node, arrays: Arrays) -> np.ndarray:
    data, indices = arrays
    axis = int_attr(node, "axis", 0)
    extent = data.shape[axis]
    if indices.size and (int(indices.max()) >= extent or int(indices.min()) < -extent):
        raise EvaluationError(f"an index outside the {extent} that there are", place=node.outputs[0].name)
    return np.take(data, indices, axis=axis)


def _fill(node: onnx_ir.Node, arrays: Arrays) -> np.ndarray:
    given = node.attributes.get("value")
    element = given.as_tensor().numpy().reshape(-1)[0] if given is not None else np.float32(0)
    return np.full(tuple(int(dim) for dim in arrays[0]), element)


def _range(node: onnx_ir.Node, arrays: Arrays) -> np.ndarray:
    start, limit, delta = (array.reshape(()) for array in arrays)
    count = max(int(np.ceil((limit - start) / delta)), 0)
    return (start + np.arange(count).astype(start.dtype) * delta).astype(start.dtype)


def _expand(node: onnx_ir.Node, arrays: Arrays) -> np.ndarray:
    shape = np.broadcast_shapes(arrays[0].shape, tuple(int(dim) for dim in arrays[1]))
    return np.broadcast_to(arrays[0], shape)


def _shape(node: onnx_ir.Node, arrays: Arrays) -> np.ndarray:
    start = int_attr(node, "start", 0)
    end = int_attr(node, "end", arrays[0].ndim)
    return np.array(arrays[0].shape[start:end], np.int64)


def _reduction(function: Callable[..., np.ndarray]) -> Evaluator:
    """For reductions: axes as second input (opset 18) or attribute; sums of floats are taken in their own type."""

    def row(node: onnx_ir.Node, arrays: Arrays) -> np.ndarray:
        data = arrays[0]
        given = tuple(int(axis) for axis in arrays[1]) if len(arrays) > 1 else ints_attr(node, "axes")
        if not given and int_attr(node, "noop_with_empty_axes", 0):
            raise EvaluationError("a reduction over no axes", place=node.outputs[0].name)
        axes = given or tuple(range(data.ndim))
        return np.asarray(function(data, axis=axes, keepdims=bool(int_attr(node, "keepdims", 1)))).astype(data.dtype, copy=False)

    return row


def _norm(data: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
    return np.sqrt(np.sum(np.square(data), axis=axis, keepdims=keepdims))


def _size(node: onnx_ir.Node, arrays: Arrays) -> np.ndarray:
    return np.array(arrays[0].size, np.int64)


def _plain(function: Callable[..., np.ndarray]) -> Evaluator:
    return lambda node, arrays: np.asarray(function(*arrays))


def _same(function: Callable[..., np.ndarray]) -> Evaluator:
    """For arithmetic: the result has the operands' type."""
    return lambda node, arrays: np.asarray(function(*arrays), arrays[0].dtype)


def _concat(node: onnx_ir.Node, arrays: Arrays) -> np.ndarray:
    return np.concatenate(arrays, axis=int_attr(node, "axis", 0))


TABLE: dict[str, Evaluator] = {
    "Add": _same(np.add),
    "Sub": _same(np.subtract),
    "Mul": _same(np.multiply),
    "Div": _divide,
    "Neg": _same(np.negative),
    "Abs": _same(np.abs),
    "Sqrt": _same(np.sqrt),
    "Floor": _same(np.floor),
    "Ceil": _same(np.ceil),
    "Identity": _plain(np.asarray),
    "Equal": _plain(np.equal),
    "Less": _plain(np.less),
    "LessOrEqual": _plain(np.less_equal),
    "Greater": _plain(np.greater),
    "GreaterOrEqual": _plain(np.greater_equal),
    "And": _plain(np.logical_and),
    "Or": _plain(np.logical_or),
    "Xor": _plain(np.logical_xor),
    "Not": _plain(np.logical_not),
    "Where": _plain(np.where),
    "Cast": _cast,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Slice": _slice,
    "Gather": _gather,
    "Concat": _concat,
    "ConstantOfShape": _fill,
    "Range": _range,
    "Expand": _expand,
    "Shape": _shape,
    "ReduceSum": _reduction(np.sum),
    "ReduceMean": _reduction(np.mean),
    "ReduceMax": _reduction(np.max),
    "ReduceMin": _reduction(np.min),
    "ReduceProd": _reduction(np.prod),
    "ReduceL2": _reduction(_norm),
    "Size": _size,
}
"""Operators that numpy evaluates exactly as the standard says, from opset 18 on."""


def _by_reference(node: onnx_ir.Node, inputs: Sequence[np.ndarray | None], opset: int) -> list[np.ndarray]:
    from onnx.reference import ReferenceEvaluator

    names = [f"i{index}" if array is not None else "" for index, array in enumerate(inputs)]
    proto = onnx_ir.serde.serialize_node(node)
    del proto.input[:], proto.output[:]
    proto.input.extend(names)
    proto.output.extend(f"o{index}" if value.name else "" for index, value in enumerate(node.outputs))
    ends = [onnx.helper.make_empty_tensor_value_info(name) for name in proto.output if name]
    starts = [onnx.helper.make_empty_tensor_value_info(name) for name in names if name]
    graph = onnx.helper.make_graph([proto], "one", starts, ends)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid(node.domain, node.version or opset)])
    feeds = {name: array for name, array in zip(names, inputs, strict=True) if array is not None}
    try:
        found = ReferenceEvaluator(model).run(None, feeds)
    except (
        RuntimeError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        AssertionError,
    ) as error:
        raise EvaluationError(f"onnx's reference evaluator refuses {node.op_type}: {error}", place=node.outputs[0].name) from error
    if not all(isinstance(array, (np.ndarray, np.generic)) for array in found):
        raise EvaluationError(f"{node.op_type} gives no tensor", place=node.outputs[0].name)
    return [np.asarray(array) for array in found]
