"""Operators that look at each element on its own, and those that broadcast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir

from netwright.ir.coupling.axes import ONE, Axis, Fixed, Tracked
from netwright.ir.coupling.rules.table import needed, rule, where
from netwright.ir.coupling.walk import dims_of
from netwright.ir.opinfo import ELEMENTWISE_BINARY, ELEMENTWISE_UNARY, ELEMENTWISE_VARIADIC

if TYPE_CHECKING:
    from netwright.ir.coupling.group import Role
    from netwright.ir.coupling.walk import Walk

_ROLES: dict[str, Role] = {"Add": "shift", "Sub": "shift", "Sum": "shift", "Mul": "scale"}
"""What a weight does that meets activations here; `other` elsewhere."""

_SUMS = frozenset({"Add", "Sub", "Sum"})


@rule(*sorted(ELEMENTWISE_UNARY), "Dropout", "QuickGelu", "Trunc")
def unary(walk: Walk, node: onnx_ir.Node) -> None:
    """Axes stay what they are; further inputs are scalars."""
    value = needed(node)
    axes = walk.axes(value, node)
    for output in node.outputs:
        walk.set(output, axes)


@rule("FastGelu", "BiasGelu", "QuickGelu", "Gelu", domain="com.microsoft")
def contrib_unary(walk: Walk, node: onnx_ir.Node) -> None:
    """A bias over the last axis is added first."""
    broadcasting(walk, node, "shift")


@rule(*sorted(ELEMENTWISE_BINARY | ELEMENTWISE_VARIADIC))
def elementwise(walk: Walk, node: onnx_ir.Node) -> None:
    """Axes are aligned from the right; those of size 1 are repeated and tie nothing."""
    activations = [value for value in node.inputs if value is not None and not walk.is_weight(value)]
    weight_role = _ROLES.get(node.op_type, "other") if activations else "other"
    axes = broadcasting(walk, node, weight_role)
    if node.op_type in _SUMS and len(activations) > 1 and len({_labels(walk, value, node) for value in activations}) > 1:
        for axis in axes:
            walk.mark(axis, "sum")


def _labels(walk: Walk, value: onnx_ir.Value, node: onnx_ir.Node) -> tuple[bytes, ...]:
    """The labels along a value's axes: those of a function of x are x's own, and their sum is no sum of layers."""
    return tuple(axis.labels.tobytes() for axis in walk.axes(value, node) if isinstance(axis, Tracked))


def broadcasting(walk: Walk, node: onnx_ir.Node, weight_role: Role) -> list[Axis]:
    """Align the inputs' axes from the right and join what meets; returns the output's axes."""
    values = [value for value in node.inputs if value is not None]
    rank = len(dims_of(node.outputs[0]))
    columns: list[list[tuple[Axis, onnx_ir.Value, int]]] = [[] for _ in range(rank)]
    for value in values:
        axes, offset = walk.axes(value, node), rank - len(dims_of(value))
        for index, axis in enumerate(axes):
            if axis is not ONE:
                columns[offset + index].append((axis, value, index))
    found: list[Axis] = []
    for column in columns:
        if len(column) > 1 and all(not isinstance(axis, Tracked) for axis, _, _ in column):
            found.append(column[0][0])
            continue
        found.append(_meet(walk, node, column))
        for axis, value, index in column:
            if isinstance(axis, Tracked):
                walk.use(value, index, weight_role, node)
    walk.set(node.outputs[0], found)
    return found


def _meet(walk: Walk, node: onnx_ir.Node, column: list[tuple[Axis, onnx_ir.Value, int]]) -> Axis:
    if len(column) < 2:
        return column[0][0] if column else ONE
    sizes = [dims_of(value)[index] for _, value, index in column]
    if any(not isinstance(size, int) for size in sizes) and len(set(map(str, sizes))) > 1:
        reason = f"{where(node)} may repeat along it"
        walk.freeze([axis for axis, _, _ in column], reason)
        return Fixed(reason)
    ordered = sorted(column, key=lambda entry: walk.is_weight(entry[1]))  # activations first: the output is like them
    return walk.join(axis for axis, _, _ in ordered)
