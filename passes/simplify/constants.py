"""Constant nodes become initializers, the one form in which other rules look for constants."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.program import Program, array
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


@rule("Range")
def scalar_limits(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Range takes scalars; ONNX Runtime lets vectors of one number pass only as long as it does not know their shape."""
    vectors = {place: data for place, value in enumerate(node.inputs) if (data := array(value, limit=1)) is not None and data.ndim == 1}
    if not vectors:
        return None

    def change(editor: Editor) -> None:
        for place, data in vectors.items():
            editor.set_input(node, place, editor.constant(data.reshape(()), "limit"))

    return Rewrite.edit(node.outputs[0].name or "", "limits are scalars", change, anchor=node)


def _in_function(node: onnx_ir.Node, program: Program) -> bool:
    functions = program.model.functions
    if not functions:
        return False
    graphs = {graph for function in functions.values() for graph in (function.graph, *function.subgraphs())}
    return node.graph in graphs


RULES = (lift_constant, scalar_limits)
