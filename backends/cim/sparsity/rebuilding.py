"""A product on crossbars in another order of its weight's rows and columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.backends.cim.ops import DOMAIN
from netwright.backends.cim.ops.requantize import dtype_of
from netwright.backends.cim.simulator.kernels import requantize
from netwright.backends.cim.sparsity.following import Course, follow
from netwright.backends.cim.sparsity.sequencing import Group, Sequencing
from netwright.ir.editor import AttributeValue, Editor
from netwright.ir.opinfo import int_attr, ints_attr
from netwright.ir.program import array
from netwright.ir.shapes import static_shape

STREAMS = 1 << 16
"""Between the noise of a layer's groups: more than there are layers."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A product, with what makes bytes of its sums.

    Attributes:
        product: the `CrossbarMatMul`.
        requantize: the one reader of its sums, where that is a `Requantize`.
    """

    product: onnx_ir.Node
    requantize: onnx_ir.Node | None

    @classmethod
    def of(cls, product: onnx_ir.Node) -> Target:
        """A product and its only reader."""
        sums = product.outputs[0]
        uses = list(sums.uses())
        node = uses[0][0] if len(uses) == 1 and not sums.is_graph_output() else None
        constant = node is not None and node.op_type == "Requantize" and all(array(value) is not None for value in node.inputs[1:])
        return cls(product, node if constant else None)

    @property
    def window(self) -> onnx_ir.Node | None:
        """The `Im2Col` that it reads."""
        x = self.product.inputs[0]
        maker = x.producer() if x is not None else None
        return maker if maker is not None and maker.op_type == "Im2Col" else None

    @property
    def places(self) -> int:
        """Places of its window; 1 without."""
        return 1 if self.window is None else int(np.prod(ints_attr(self.window, "kernel_shape")))

    @property
    def result(self) -> onnx_ir.Value:
        """What the rest of the graph reads."""
        return (self.requantize or self.product).outputs[0]


def obstacle(target: Target, sequencing: Sequencing) -> str:
    """Why a product cannot take this order; empty where it can."""
    x = target.product.inputs[0]
    if static_shape(x) is None:
        return f"the shape of %{x.name if x is not None else ''} is not a fixed one: run bind before crossbars"
    if not sequencing.groups:
        return "all its weights are 0: run fold"
    return ""


def course_of(target: Target, sequencing: Sequencing) -> Course | str:
    """Where the new order of columns leads; the reason, where it ends at once and they are put back in order."""
    if not sequencing.moves:
        return Course()
    shape = static_shape(target.result)
    return "its shape is not known" if shape is None else follow(target.result, len(shape) - 1, sequencing.order)


def rebuild(target: Target, weight: np.ndarray, sequencing: Sequencing) -> Callable[[Editor], None]:
    """The change that puts groups in a product's place: inputs gathered for each, columns put together, in the new order if all follow."""
    course = course_of(target, sequencing)

    def change(editor: Editor) -> None:
        root = target.requantize or target.product
        editor.at(root)
        parts = [_part(editor, target, weight, group, number) for number, group in enumerate(sequencing.groups)]
        if len(sequencing.idle):
            parts.append(_idle(editor, target, sequencing.idle))
        axis = len(_lead(target))
        made = parts[0] if len(parts) == 1 else editor.op("Concat", parts, {"axis": axis})
        if sequencing.moves and isinstance(course, str):
            back = editor.constant(np.argsort(sequencing.order), "columns")
            made = editor.op("Gather", [made, back], {"axis": axis})
        if isinstance(course, Course):
            course.change(editor)
        editor.replace(target.result, made)

    return change


def _part(editor: Editor, target: Target, weight: np.ndarray, group: Group, number: int) -> onnx_ir.Value:
    node = target.product
    x, w = node.inputs[0], node.inputs[1]
    assert x is not None, "a product has two inputs"
    assert w is not None, "a product has two inputs"
    if len(group.rows) < weight.shape[0]:
        x = _taken(editor, target, x, group.rows)
    part = editor.constant(np.ascontiguousarray(weight[np.ix_(group.rows, group.columns)]), w.name or "weight")
    attributes = _attributes(node)
    if "noise_stream" in attributes:  # columns of another group are other cells, and have other noise
        attributes["noise_stream"] = int_attr(node, "noise_stream", 0) + number * STREAMS
    sums = editor.op(node.op_type, [x, part], attributes, domain=DOMAIN, name=node.outputs[0].name or "")
    if target.requantize is None:
        return sums
    scale = [editor.constant(_row(target, index)[group.columns], "scaling") for index in (1, 2)]
    return editor.op(target.requantize.op_type, [sums, *scale], _attributes(target.requantize), domain=DOMAIN)


def _taken(editor: Editor, target: Target, x: onnx_ir.Value, rows: np.ndarray) -> onnx_ir.Value:
    """The inputs of some rows: taken from the map, before its windows are, where there are windows."""
    window = target.window
    if window is None:
        return editor.op("Gather", [x, editor.constant(rows.astype(np.int64), "rows")], {"axis": len(_lead(target))})
    channels = rows[: len(rows) // target.places].astype(np.int64)
    some = editor.op("Gather", [window.inputs[0], editor.constant(channels, "channels")], {"axis": 3})
    return editor.op(window.op_type, [some], _attributes(window), domain=DOMAIN)


def _idle(editor: Editor, target: Target, columns: np.ndarray) -> onnx_ir.Value:
    """Columns without weights: sums of 0, or the bytes that follow from them."""
    sums = np.zeros((*_lead(target), len(columns)), np.int32)
    node = target.requantize
    if node is None:
        return editor.constant(sums, "idle")
    facts = int_attr(node, "zero_point", 0), int_attr(node, "low", 0), int_attr(node, "high", 0)
    return editor.constant(requantize(sums, _row(target, 1)[columns], _row(target, 2)[columns], *facts, np.dtype(dtype_of(node))), "idle")


def _row(target: Target, index: int) -> np.ndarray:
    """A scaling's bias or multiplier, one element a column."""
    assert target.requantize is not None
    found = array(target.requantize.inputs[index])
    width = static_shape(target.result)
    assert found is not None, "looked at before"
    assert width is not None, "looked at before"
    return np.broadcast_to(found.reshape(-1), (width[-1],)) if found.size == 1 else found.reshape(-1)


def _lead(target: Target) -> tuple[int, ...]:
    shape = static_shape(target.product.inputs[0])
    assert shape is not None, "looked at before"
    return shape[:-1]


def _attributes(node: onnx_ir.Node) -> dict[str, AttributeValue]:
    return dict(node.attributes)
