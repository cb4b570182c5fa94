"""What shape rules share: reading inputs, setting outputs, falling back on the package's rule."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir
from onnx_ir import DataType, Shape
from onnx_shape_inference import OpUsageError, registry

from netwright.ir.dims import (
    Dim,
)
from netwright.ir.opinfo import ELEMENTWISE_BINARY
from netwright.ir.shape_context import Context, contents


def package_rule(context: Context, node: onnx_ir.Node) -> None:
    """Run the package's own rule for the node."""
    registry.collect()
    rule = registry.get(node.domain, node.op_type, node.version or context.get_opset_version(node.domain))
    if rule is None:
        raise OpUsageError(node, "the package has no rule for this version")
    rule(context, node)


def axis_of(axis: Dim, rank: int) -> int:
    """An axis counted from the start."""
    if not isinstance(axis, int) or not -rank <= axis < max(rank, 1):
        raise ValueError(f"axis {axis} is out of range for rank {rank}")
    return axis % rank if rank else 0


def length_of(value: onnx_ir.Value) -> int:
    """How many elements a vector has."""
    size = value.shape[0] if value.shape is not None and value.shape.rank() == 1 else None
    if not isinstance(size, int):
        raise ValueError(f"the length of %{value.name} is unknown")
    return size


def optional_contents(node: onnx_ir.Node, index: int, count: int, *, fill: int | None = None) -> Sequence[Dim] | None:
    """Contents of an optional input; where it is left out, 0, 1, 2 … or `fill` as often."""
    value = node.inputs[index] if len(node.inputs) > index else None
    if value is not None:
        return contents(value)
    return range(count) if fill is None else (fill,) * count


def required(node: onnx_ir.Node, count: int) -> tuple[onnx_ir.Value, ...]:
    """The first `count` inputs; all of them for variadic operators.

    Raises:
        OpUsageError: there are fewer.
    """
    inputs = tuple(value for value in node.inputs if value is not None)
    if len(inputs) < count or any(value is None for value in node.inputs[:count]):
        raise OpUsageError(node, f"{count} inputs needed, {len(inputs)} given")
    return inputs[:count] if node.op_type not in _VARIADIC else inputs


_VARIADIC = frozenset({"Max", "Min", "Sum", "Mean", *ELEMENTWISE_BINARY})


def first_dtype(values: Sequence[onnx_ir.Value]) -> DataType | None:
    """The first element type that is known."""
    return next((value.dtype for value in values if value.dtype is not None), None)


def set_output(context: Context, value: onnx_ir.Value, dims: Sequence[Dim] | None, dtype: DataType | None) -> None:
    """Give an output its dimensions (None: rank unknown) and type."""
    context.set_shape_and_dtype(value, Shape(tuple(dims)) if dims is not None else None, dtype)
