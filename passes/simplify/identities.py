"""Nodes that return what they are given."""

from __future__ import annotations

import onnx_ir

from netwright.ir.editor import can_replace
from netwright.ir.program import Program
from netwright.passes.rewrite import Rewrite
from netwright.passes.rules import rule


@rule("Identity")
def drop_identity(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Route around Identity nodes."""
    source = node.inputs[0]
    if source is None or not can_replace(node.outputs[0], source):
        return None
    return Rewrite.replace(node.outputs[0], by=source, why="identity")


RULES = (drop_identity,)
