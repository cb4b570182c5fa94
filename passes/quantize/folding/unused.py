"""Pairs of QuantizeLinear and DequantizeLinear that only cost."""

from __future__ import annotations

import onnx_ir

from netwright.ir.editor import can_replace
from netwright.ir.program import Program, constant
from netwright.passes.quantize.folding.facts import is_kernel, producer
from netwright.passes.quantize.static.operators import is_bounding
from netwright.passes.quantize.static.pairs import grid_at
from netwright.passes.rewrite import Rewrite
from netwright.passes.rules import rule


@rule("DequantizeLinear")
def unused_pair(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A value that is put on a grid and taken off again, between floats."""
    quantize = producer(node.inputs[0], "QuantizeLinear")
    source = quantize.inputs[0] if quantize is not None else None
    grid = grid_at(node)
    if quantize is None or source is None or constant(source) is not None or grid is None or grid != grid_at(quantize):
        return None
    if any(user.op_type != "DequantizeLinear" for user, _ in quantize.outputs[0].uses()) or quantize.outputs[0].is_graph_output():
        return None
    if _is_made_by_kernel(source) or any(is_kernel(user) for user, _ in node.outputs[0].uses()):
        return None
    if not can_replace(node.outputs[0], source):
        return None
    return Rewrite.replace(node.outputs[0], by=source, why="no kernel uses these integers")


def _is_made_by_kernel(value: onnx_ir.Value) -> bool:
    node = value.producer()
    while node is not None and is_bounding(node) and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node is not None and is_kernel(node)
