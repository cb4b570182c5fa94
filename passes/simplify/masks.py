"""Attention masks as exporters write them: look-ups by counting indices, comparisons that are always true."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.dims import dims_equal, shape_of
from netwright.ir.editor import Editor
from netwright.ir.opinfo import int_attr
from netwright.ir.program import Program, constant
from netwright.passes.rewrite import Rewrite, site_of
from netwright.passes.rules import rule
from netwright.passes.simplify.facts import concat_axis, counts_along, covers, integers, producer, uniform
from netwright.passes.simplify.shape_arithmetic import build_shape, insert_shape


@rule("GatherND")
def gather_by_counting(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """`x[i, j]` where i counts along one axis and j along a later one is x with axes of length 1 put in."""
    data, indices, out = node.inputs[0], node.inputs[1], node.outputs[0]
    concat = producer(indices, "Concat")
    own, grid = shape_of(data), shape_of(out)
    if concat is None or data is None or own is None or grid is None or int_attr(node, "batch_dims", 0):
        return None
    if len(concat.inputs) != len(own) or concat_axis(concat) != len(grid):
        return None
    axes = [_counted_axis(value) for value in concat.inputs]
    places = [axis for axis in axes if axis is not None]
    if len(places) < len(axes) or places != sorted(set(places)):
        return None
    added = [axis for axis in range(len(grid)) if axis not in places]
    if not all(dims_equal(grid[place], dim) for place, dim in zip(places, own, strict=True)):
        return None
    if not all(dims_equal(grid[axis], 1) for axis in added):
        return None
    if not added:
        return Rewrite.replace(out, by=data, why="gathered in order") if not out.is_graph_output() else None
    return Rewrite.build(
        node,
        lambda editor: editor.op("Unsqueeze", [data, editor.constant(np.array(added, np.int64), "axes")], like=out),
        why="gathered in order",
    )


def _counted_axis(value: onnx_ir.Value | None) -> int | None:
    """The axis along which one column of indices counts."""
    column, dims = producer(value, "Unsqueeze"), shape_of(value)
    axes = integers(column.inputs[1]) if column is not None else None
    if column is None or axes is None or dims is None:
        return None
    last = len(dims) - 1
    inserted = sorted(axis % len(dims) for axis in axes)
    if last not in inserted:
        return None
    inner = counts_along(column.inputs[0])
    if inner is None:
        return None
    kept = [axis for axis in range(len(dims)) if axis not in inserted]
    return kept[inner]


@rule("And", "Or")
def drop_uniform_operand(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """`x and true` where the constant side has a larger shape: x, expanded."""
    a, b = node.inputs[:2]
    out = node.outputs[0]
    dims = shape_of(out)
    if a is None or b is None or dims is None:
        return None
    for kept, other in ((a, b), (b, a)):
        known, small, large = uniform(other), shape_of(kept), shape_of(other)
        if known is None or bool(known) is not (node.op_type == "And") or small is None or large is None or constant(other) is not None:
            continue
        if not covers(dims, [small, large]) or covers(dims, [small]):
            continue
        parts = build_shape(program, large)
        if parts is None:
            continue

        def make(editor: Editor, kept: onnx_ir.Value = kept, parts: tuple[tuple[onnx_ir.Value, int] | int, ...] = parts) -> onnx_ir.Value:
            return editor.op("Expand", [kept, insert_shape(editor, parts)], like=out)

        return Rewrite.build(node, make, why=f"{node.op_type} with {bool(known)}".lower())
    return None


@rule("Gather")
def gather_one_row(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A look-up by indices that are all the same, where the reader broadcasts: look up one row."""
    data, indices, out = node.inputs[0], node.inputs[1], node.outputs[0]
    dims = shape_of(out)
    if data is None or indices is None or constant(data) is None or constant(indices) is not None or dims is None:
        return None
    row = uniform(indices)
    if row is None or row.dtype.kind not in "iu" or int_attr(node, "axis", 0) != 0 or not _is_broadcast(out):
        return None
    index = np.array(int(row), np.int64)

    def change(editor: Editor) -> None:
        looked_up = editor.op("Gather", [data, editor.constant(index, "index")], {"axis": 0}, name=f"{out.name}.row")
        for user, place in out.uses():
            editor.set_input(user, place, looked_up)

    return Rewrite.edit(site_of(node), f"all indices are {int(row)}, and the result is broadcast", change, anchor=node)


def _is_broadcast(value: onnx_ir.Value) -> bool:
    """True where every reader is elementwise and the other operands have the full shape already."""
    if value.is_graph_output() or not value.uses():
        return False
    for user, index in value.uses():
        if user.domain or user.op_type not in ("Add", "Mul", "Sub", "Div"):
            return False
        other, dims = shape_of(user.inputs[1 - index]), shape_of(user.outputs[0])
        if other is None or dims is None or not covers(dims, [other]):
            return False
    return True


@rule("Attention")
def drop_true_mask(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A boolean mask that is true everywhere masks nothing."""
    mask = node.inputs[3] if len(node.inputs) > 3 else None
    if mask is None or mask.dtype != onnx_ir.DataType.BOOL:
        return None
    known = uniform(mask)
    if known is None or not bool(known):
        return None

    def change(editor: Editor) -> None:
        if len(node.inputs) == 4:
            editor.resize_inputs(node, 3)
        else:
            editor.set_input(node, 3, None)

    return Rewrite.edit(site_of(node), "the mask is true everywhere", change, anchor=node)


RULES = (gather_by_counting, drop_uniform_operand, gather_one_row, drop_true_mask)
