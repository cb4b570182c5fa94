"""What the rules ask of the graph."""

from __future__ import annotations

import onnx_ir

from netwright.ir.editor import reader_count
from netwright.ir.opinfo import is_standard
from netwright.ir.program import constant
from netwright.passes.quantize.choice import ActivationGrid
from netwright.passes.quantize.static.operators import ARITHMETIC, data_inputs, moves_integers
from netwright.passes.quantize.static.pairs import grid_at

WEIGHING = frozenset({"Conv", "Gemm", "MatMul"})
"""Kernels that have weights, or two operands that are multiplied and summed."""

OTHERS = frozenset({"ReduceMean", "Softmax", "Where"})
"""Kernels between integers that netwright does not make itself, but leaves where it finds them."""


def producer(value: onnx_ir.Value | None, *op_types: str) -> onnx_ir.Node | None:
    """The standard node of one of these operators that makes a value."""
    node = value.producer() if value is not None else None
    return node if node is not None and is_standard(node, *op_types) else None


def sole_reader(value: onnx_ir.Value) -> onnx_ir.Node | None:
    """The one node that reads a value, in its graph; None where there are more, or it is an output."""
    if value.is_graph_output() or reader_count(value) != 1:
        return None
    reader = next(iter(value.uses()))[0]
    made = value.producer()
    return reader if made is None or reader.graph is made.graph else None


def dequantized(value: onnx_ir.Value | None) -> tuple[onnx_ir.Node, ActivationGrid] | None:
    """The DequantizeLinear that makes an activation, and its grid of one scale; None for weights and computed scales."""
    node = producer(value, "DequantizeLinear")
    if node is None or constant(node.inputs[0]) is not None:
        return None
    grid = grid_at(node)
    return None if grid is None else (node, grid)


def is_dequantized(value: onnx_ir.Value | None) -> bool:
    """True where a value, an activation or a weight, comes from integers."""
    return producer(value, "DequantizeLinear") is not None


def is_kernel(node: onnx_ir.Node) -> bool:
    """True for a node that runtimes can run on integers, where all of its operands come from integers."""
    if not is_standard(node):
        return False
    if node.op_type in WEIGHING:
        return all(is_dequantized(operand) for operand in node.inputs[:2])
    if node.op_type in OTHERS:
        return is_dequantized(node.inputs[-1] if node.op_type == "Where" else node.inputs[0])
    return node.op_type in ARITHMETIC and all(is_dequantized(node.inputs[index]) for index in data_inputs(node))


def is_output_once(value: onnx_ir.Value) -> bool:
    """True unless a value is an output of its graph several times, so that nothing can take its place."""
    return not value.is_graph_output() or value.graph is None or sum(output is value for output in value.graph.outputs) == 1


def is_taken(node: onnx_ir.Node) -> bool:
    """True where a reader of the node's outputs may use integers."""
    readers = [user for output in node.outputs for user, _ in output.uses()]
    return any(
        is_standard(user) and (user.op_type in WEIGHING | ARITHMETIC or user.op_type == "QuantizeLinear" or moves_integers(user))
        for user in readers
    )
