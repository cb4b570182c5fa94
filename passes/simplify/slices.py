"""Chains of slices, and slices of shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.dims import Dim, shape_of
from netwright.ir.editor import Editor
from netwright.ir.opinfo import int_attr
from netwright.ir.program import Program
from netwright.passes.rewrite import Rewrite
from netwright.passes.rules import rule
from netwright.passes.simplify.facts import integers, producer, sole_use

END = (1 << 63) - 1
"""The end that exporters write for "to the end"."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What a Slice takes of one axis."""

    start: int
    end: int
    step: int = 1


def cuts_of(node: onnx_ir.Node) -> Mapping[int, Cut] | None:
    """A Slice's constant cuts by axis, or None where they are computed or an axis is named twice."""
    starts, ends = integers(node.inputs[1]), integers(node.inputs[2])
    dims = shape_of(node.inputs[0])
    if starts is None or ends is None or dims is None:
        return None
    axes = integers(node.inputs[3]) if len(node.inputs) > 3 and node.inputs[3] is not None else tuple(range(len(starts)))
    steps = integers(node.inputs[4]) if len(node.inputs) > 4 and node.inputs[4] is not None else (1,) * len(starts)
    if axes is None or steps is None or not len(starts) == len(ends) == len(axes) == len(steps):
        return None
    found = {axis % len(dims): Cut(*cut) for axis, cut in zip(axes, zip(starts, ends, steps, strict=True), strict=True)}
    return found if len(found) == len(axes) else None


@rule("Slice")
def merge_slices(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A slice of a slice, along other axes or further along the same, is one slice of several axes."""
    middle, out = node.inputs[0], node.outputs[0]
    inner = producer(middle, "Slice")
    if inner is None or middle is None or sole_use(middle) is None:
        return None
    first, second, source = cuts_of(inner), cuts_of(node), inner.inputs[0]
    dims = shape_of(source)
    if first is None or second is None or source is None or dims is None:
        return None
    merged = dict(first)
    for axis, cut in second.items():
        joined = _join(first[axis], cut, dims[axis]) if axis in first else cut
        if joined is None:
            return None
        merged[axis] = joined
    axes = sorted(merged)
    columns = [[merged[a].start for a in axes], [merged[a].end for a in axes], axes, [merged[a].step for a in axes]]

    def make(editor: Editor) -> onnx_ir.Value:
        operands = [
            editor.constant(np.array(column, np.int64), name)
            for column, name in zip(columns, ("starts", "ends", "axes", "steps"), strict=True)
        ]
        return editor.op("Slice", [source, *operands], like=out)

    return Rewrite.build(node, make, why="slice of a slice")


def _join(first: Cut, second: Cut, extent: Dim) -> Cut | None:
    """Two cuts of one axis as one, where both count from the front with step 1."""
    if first.step != 1 or second.step != 1 or min(first.start, second.start, first.end, second.end) < 0:
        return None
    if not isinstance(extent, int) and first.start > 0 and second.end >= END and first.end < END:
        return Cut(first.start + second.start, first.end)
    end = first.end if second.end >= END else min(first.end, first.start + second.end)
    return Cut(first.start + second.start, end)


@rule("Slice")
def slice_of_shape(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A slice of a shape: Shape itself takes a start and an end."""
    shape = producer(node.inputs[0], "Shape")
    cuts = cuts_of(node) if shape is not None else None
    if shape is None or cuts is None or set(cuts) != {0} or cuts[0].step != 1:
        return None
    return _part_of_shape(node, shape, cuts[0].start, cuts[0].end)


@rule("Gather")
def gather_of_shape(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """One element of a shape, as a vector: Shape itself takes a start and an end."""
    shape = producer(node.inputs[0], "Shape")
    indices = node.inputs[1]
    index = integers(indices) if shape is not None else None
    if shape is None or index is None or indices is None or shape_of(indices) != (1,):
        return None
    return _part_of_shape(node, shape, index[0], index[0] + 1 or END)


def _part_of_shape(node: onnx_ir.Node, shape: onnx_ir.Node, start: int, end: int) -> Rewrite | None:
    source, out = shape.inputs[0], node.outputs[0]
    dims = shape_of(source)
    if source is None or dims is None or program_opset(node) < 15:
        return None
    whole = range(len(dims))[int_attr(shape, "start", 0) : int_attr(shape, "end", len(dims))]
    part = whole[start:end]
    if not part:
        return None
    limits = {"start": part.start, "end": part.stop}
    return Rewrite.build(
        node, lambda editor: editor.op("Shape", [source], limits, like=out), why=f"dimensions {part.start} to {part.stop} of a shape"
    )


def program_opset(node: onnx_ir.Node) -> int:
    """The version of the standard operators that the node's graph uses (18 where it does not say)."""
    graph = node.graph
    return 18 if graph is None else graph.opset_imports.get("", 18)


RULES = (merge_slices, slice_of_shape, gather_of_shape)
