"""What a small program does, as far as its time goes: equal for layers that differ in names and weights alone."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import onnx_ir

from netwright.ir.opinfo import subgraphs

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Feeds


def signature(program: Program, feeds: Feeds) -> str:
    """32 hexadecimal digits of operators, attributes, wiring, types and shapes. Constants of up to 64 elements that are integers (axes,
    shapes) count by value, others by shape. Linear in nodes.
    """
    state = blake2b(digest_size=16)
    numbers: dict[onnx_ir.Value, int] = {}
    for value in program.graph.inputs:
        array = feeds[value.name or ""]
        state.update(f"in {_number(numbers, value)} {array.dtype} {array.shape}\n".encode())
    _graph(state, numbers, program.graph)
    return state.hexdigest()


def _graph(state: blake2b, numbers: dict[onnx_ir.Value, int], graph: onnx_ir.Graph) -> None:
    for node in graph:
        for value in node.inputs:
            if value is not None and value not in numbers and value.const_value is not None:
                state.update(f"const {_number(numbers, value)} {_constant(value.const_value)}\n".encode())
        attributes = [f"{key}={_attribute(held)}" for key, held in sorted(node.attributes.items())]
        read = [None if value is None else _number(numbers, value) for value in node.inputs]
        made = [_number(numbers, value) for value in node.outputs]
        state.update(f"{node.domain}.{node.op_type} {attributes} {read} {made}\n".encode())
        for key, inner in subgraphs(node):
            state.update(f"{key} {[_number(numbers, value) for value in inner.inputs]} {{\n".encode())
            _graph(state, numbers, inner)
    state.update(f"out {[numbers.get(value) for value in graph.outputs]}\n".encode())


def _number(numbers: dict[onnx_ir.Value, int], value: onnx_ir.Value) -> int:
    return numbers.setdefault(value, len(numbers))


def _constant(tensor: onnx_ir.TensorProtocol) -> str:
    known = tensor.numpy().tolist() if tensor.size <= 64 and tensor.dtype == onnx_ir.DataType.INT64 else ""
    return f"{tensor.dtype.name} {list(tensor.shape)} {known}"


def _attribute(held: onnx_ir.Attr) -> str:
    if held.type in (onnx_ir.AttributeType.GRAPH, onnx_ir.AttributeType.GRAPHS):
        return "graph"
    if held.type == onnx_ir.AttributeType.TENSOR:
        return _constant(held.as_tensor())
    return repr(held.value)
