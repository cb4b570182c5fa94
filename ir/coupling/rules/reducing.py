"""Operators that reduce an axis, or look along one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir

from netwright.ir.coupling.axes import ONE, Axis, Tracked
from netwright.ir.coupling.rules.table import NoRule, given, integers, needed, rule, where
from netwright.ir.opinfo import int_attr, ints_attr

if TYPE_CHECKING:
    from netwright.ir.coupling.walk import Walk

_ZEROS_ADD_NOTHING = frozenset({"ReduceSum", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare"})
"""Reductions over units that a zero does not change (a mean once it is scaled by the share that is left)."""


@rule(
    *["ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"],
    *["ReduceSum", "ReduceSumSquare"],
)
def reduce(walk: Walk, node: onnx_ir.Node) -> None:
    """The reduced axes go; the others stay."""
    x = needed(node)
    axes = walk.axes(x, node)
    reduced = reduced_axes(node, len(axes))
    if reduced is None:
        raise NoRule("its axes are computed")
    for index in reduced:
        if node.op_type not in _ZEROS_ADD_NOTHING:
            walk.inexact(axes[index], f"{where(node)} takes its {node.op_type[6:].lower()}, which a zero may change")
    keep = int_attr(node, "keepdims", 1)
    found: list[Axis] = [ONE if index in reduced else axis for index, axis in enumerate(axes) if keep or index not in reduced]
    walk.set(node.outputs[0], found)


def reduced_axes(node: onnx_ir.Node, rank: int) -> frozenset[int] | None:
    """The axes that a reduction reduces; None where they are computed."""
    listed = ints_attr(node, "axes")
    if not listed and given(node, 1) is not None:
        values = integers(node.inputs[1])
        if values is None:
            return None
        listed = values
    if not listed:
        return frozenset() if int_attr(node, "noop_with_empty_axes", 0) else frozenset(range(rank))
    return frozenset(axis % rank for axis in listed)


@rule("Softmax", "LogSoftmax", "Hardmax")
def softmax(walk: Walk, node: onnx_ir.Node) -> None:
    """Shares among the units of an axis: what is removed must not have had one."""
    x = needed(node)
    axes = walk.axes(x, node)
    axis = axes[int_attr(node, "axis", -1)]
    if isinstance(axis, Tracked):
        walk.mark(axis, "softmax")
        if node.op_type != "Softmax":
            walk.inexact(axis, f"{where(node)} shares among its units")
    walk.set(node.outputs[0], axes)


@rule("ArgMax", "ArgMin")
def arg_max(walk: Walk, node: onnx_ir.Node) -> None:
    """What comes out is numbers of units."""
    x = needed(node)
    axes = walk.axes(x, node)
    index = int_attr(node, "axis", 0) % len(axes)
    walk.freeze(axes[index], f"{where(node)} gives the numbers of its units")
    keep = int_attr(node, "keepdims", 1)
    walk.set(node.outputs[0], [ONE if i == index else axis for i, axis in enumerate(axes) if keep or i != index])


@rule("TopK", "CumSum", "Trilu", "Unique", "ReverseSequence")
def along(walk: Walk, node: onnx_ir.Node) -> None:
    """Places along the axis matter."""
    x = needed(node)
    axes = list(walk.axes(x, node))
    if node.op_type == "Trilu":
        places = [len(axes) - 2, len(axes) - 1]
    elif node.op_type == "ReverseSequence":
        places = [int_attr(node, "batch_axis", 1), int_attr(node, "time_axis", 0)]
    elif node.op_type == "CumSum":
        places = integers(node.inputs[1]) or list(range(len(axes)))
    else:
        places = [int_attr(node, "axis", -1)]
    for place in places:
        walk.freeze(axes[place], f"{where(node)} depends on places along it")
        axes[place] = walk.fixed(x, f"{where(node)} depends on places along it")[0]
    for output in node.outputs:
        walk.set(output, axes)
