"""Constant nodes become initializers, the one form in which other rules look for constants."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.program import Program
from netwright.passes.rewrite import Rewrite
from netwright.passes.rules import rule


@rule("Constant")
def lift_constant(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A Constant node of the main graph or a branch; functions' bodies have no initializers, graph outputs need a node."""
    out = node.outputs[0]
    if out.is_graph_output() or not isinstance(node.graph, onnx_ir.Graph) or _in_function(node, program):
        return None
    tensor = onnx_ir.convenience.get_const_tensor(out)
    if tensor is None:
        return None
    held = tensor if tensor.dtype == onnx_ir.DataType.STRING or tensor.nbytes > 1024 else np.array(tensor.numpy())
    return Rewrite.build(node, lambda editor: editor.constant(held, out.name or "constant"), why="constant node")


def _in_function(node: onnx_ir.Node, program: Program) -> bool:
    functions = program.model.functions
    if not functions:
        return False
    graphs = {graph for function in functions.values() for graph in (function.graph, *function.subgraphs())}
    return node.graph in graphs


RULES = (lift_constant,)
