"""Channels in another order, followed to the products that read them, whose inputs are put in that order in turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.maps import Mapped, Take
from netwright.ir.opinfo import ELEMENTWISE_UNARY, int_attr, ints_attr, is_standard
from netwright.ir.program import array
from netwright.ir.shapes import static_shape

_CHANNELWISE = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"})
"""Operators on [N, C, …] that keep channels apart."""

_WITH_CONSTANTS = frozenset({"Add", "Div", "Max", "Min", "Mul", "Sub", "Sum"})
_RESHAPES = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})


@dataclass(slots=True)
class Course:
    """Where channels in another order lead.

    Attributes:
        weights: products whose weights take another order of rows: new row i is old row order[i].
        constants: other constants that change, by node and number of the input, and to what.
        values: what is in another order on the way, by name: axis and order.
    """

    weights: dict[onnx_ir.Node, np.ndarray] = field(default_factory=dict[onnx_ir.Node, np.ndarray])
    constants: dict[tuple[onnx_ir.Node, int], np.ndarray] = field(default_factory=dict[tuple[onnx_ir.Node, int], np.ndarray])
    values: dict[str, tuple[int, np.ndarray]] = field(default_factory=dict[str, tuple[int, np.ndarray]])

    def change(self, editor: Editor, names: Mapping[str, str] = MappingProxyType({})) -> None:
        """Carry it out.

        Args:
            editor: the transaction.
            names: what values are called by now that had other names when the course was taken.
        """
        for node, order in self.weights.items():
            weight = array(node.inputs[1])
            assert weight is not None, "the course leads to constant weights only"
            _set(editor, node, 1, weight[order])
        for (node, index), data in self.constants.items():
            _set(editor, node, index, data)
        for name, (axis, order) in self.values.items():
            editor.map(names.get(name, name), Mapped(Take(axis, tuple(int(i) for i in order), len(order)), (name,)))


def follow(value: onnx_ir.Value, axis: int, order: np.ndarray) -> Course | str:
    """Where it leads to have a value's slices along an axis in another order; the reason, where something on the way cannot follow.

    Args:
        value: as it is.
        axis: of the value.
        order: new slice i is old slice order[i].
    """
    course = Course()
    pending = [(value, axis, order)]
    while pending:
        current, along, now = pending.pop()
        if current.is_graph_output():
            return f"%{current.name} is an output"
        course.values[current.name or ""] = (along, now)
        for node, index in current.uses():
            step = _step(node, index, along, now, course)
            if isinstance(step, str):
                return step
            if step is not None:
                pending.append((node.outputs[0], *step))
    return course


def _step(node: onnx_ir.Node, index: int, axis: int, order: np.ndarray, course: Course) -> tuple[int, np.ndarray] | str | None:
    """The axis and order of what a reader makes; None where the order ends with it; a reason where it cannot follow."""
    stuck = f"{node.op_type} %{node.outputs[0].name} depends on the order of channels"
    shape = static_shape(node.inputs[index])
    if shape is None or len(node.outputs) != 1 or (index != 0 and node.op_type not in _WITH_CONSTANTS):
        return stuck
    last = axis == len(shape) - 1
    match node.op_type:
        case "CrossbarMatMul" if last and array(node.inputs[1]) is not None:
            course.weights[node] = order
            return None
        case "Im2Col" if last:
            kernel = ints_attr(node, "kernel_shape")
            places = np.arange(kernel[0] * kernel[1], dtype=np.int64)[:, None] * len(order)
            return 3, (places + order).reshape(-1)
        case "Gather" if is_standard(node):
            taken = array(node.inputs[1])
            if taken is None or taken.ndim != 1 or int_attr(node, "axis", 0) % len(shape) != axis:
                return stuck
            course.constants[node, 1] = np.argsort(order)[taken]
            return None
        case name if is_standard(node) and name in _WITH_CONSTANTS:
            return (axis, order) if _take_constants(node, index, len(shape) - axis, order, course) else stuck
        case "Transpose" if is_standard(node):
            return ints_attr(node, "perm", tuple(range(len(shape)))[::-1]).index(axis), order
        case name if is_standard(node) and ((name in _CHANNELWISE and axis == 1) or name in ELEMENTWISE_UNARY):
            return axis, order
        case "DequantizeLinear" | "QuantizeLinear" if is_standard(node):
            scales = [array(one) for one in node.inputs[1:] if one is not None]
            return (axis, order) if all(one is not None and one.size == 1 for one in scales) else stuck
        case name if is_standard(node) and name in _RESHAPES:
            return _reshaped(shape, static_shape(node.outputs[0]), axis, order) or stuck
        case _:
            return stuck


def _take_constants(node: onnx_ir.Node, index: int, from_end: int, order: np.ndarray, course: Course) -> bool:
    """Note down the constants that a value is combined with, in the new order; False where one is not constant, or has more axes."""
    shape = static_shape(node.outputs[0])
    for place, value in enumerate(node.inputs):
        if place == index:
            continue
        other = array(value)
        if other is None or shape is None or other.ndim > len(shape) or shape[-from_end] != len(order):
            return False
        if other.ndim >= from_end and other.shape[-from_end] != 1:
            course.constants[node, place] = other.take(order, axis=-from_end)
    return True


def _set(editor: Editor, node: onnx_ir.Node, index: int, data: np.ndarray) -> None:
    """Give a node a constant of its own: others may read the one it had."""
    before = node.inputs[index]
    editor.at(node).set_input(node, index, editor.constant(data, (before.name if before is not None else "") or "constant"))


def _reshaped(shape: tuple[int, ...], into: tuple[int, ...] | None, axis: int, order: np.ndarray) -> tuple[int, np.ndarray] | None:
    """The axis and order behind a Reshape, where it is still one order along one axis. Linear in elements, for each axis."""
    if into is None:
        return None
    numbers = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    old, new = numbers.reshape(into), numbers.take(order, axis=axis).reshape(into)
    for along in range(len(into)):
        first: list[int | slice] = [0] * len(into)
        first[along] = slice(None)
        before, after = old[tuple(first)], new[tuple(first)]
        places = np.searchsorted(before, after)
        if places.max(initial=0) < len(before) and np.array_equal(old.take(places, axis=along), new):
            return along, places.astype(np.int64)
    return None
