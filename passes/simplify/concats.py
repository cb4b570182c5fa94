"""Chains of concatenations, and concatenations that put together what was taken apart."""

from __future__ import annotations

import onnx_ir

from netwright.ir.editor import can_replace
from netwright.ir.opinfo import int_attr
from netwright.ir.program import Program
from netwright.passes.rewrite import Rewrite
from netwright.passes.rules import rule
from netwright.passes.simplify.facts import concat_axis, producer, sole_use


@rule("Concat")
def merge_concats(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A concatenation of concatenations along the same axis is one."""
    axis = concat_axis(node)
    parts: list[onnx_ir.Value | None] = []
    for value in node.inputs:
        inner = producer(value, "Concat")
        nested = inner is not None and value is not None and sole_use(value) is not None and concat_axis(inner) == axis
        parts.extend(inner.inputs if nested and inner is not None else (value,))
    if axis is None or len(parts) == len(node.inputs):
        return None
    out = node.outputs[0]
    return Rewrite.build(node, lambda editor: editor.op("Concat", parts, {"axis": axis}, like=out), why="concat of concat")


@rule("Concat")
def undo_split(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """All pieces of a split, put together in order again."""
    out, split = node.outputs[0], producer(node.inputs[0], "Split")
    if split is None or len(split.outputs) != len(node.inputs) or any(a is not b for a, b in zip(split.outputs, node.inputs, strict=True)):
        return None
    source = split.inputs[0]
    axis = concat_axis(node)
    rank = out.shape.rank() if out.shape is not None else 0
    if source is None or axis is None or not rank or int_attr(split, "axis", 0) % rank != axis or not can_replace(out, source):
        return None
    return Rewrite.replace(out, by=source, why="concat of what was split")


RULES = (merge_concats, undo_split)
