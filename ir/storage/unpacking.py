"""Puts dense weights in the place of compact ones while a model is read; see `netwright.ir.storage.packed`."""

from __future__ import annotations

import onnx
import onnx_ir

from netwright.ir.errors import ModelFileError
from netwright.ir.storage.cut import MARK
from netwright.ir.storage.packed import DOMAIN, NAME, SHAPE, Packed, unpack
from netwright.ir.storage.tensors import graphs_of, shape_fault


def unpack_weights(proto: onnx.ModelProto, shelf: list[onnx_ir.TensorProtocol]) -> None:
    """Turn calls of `Unpack` on two initializers into the initializer that they make, in place.

    Calls on anything else stay, and so does the function.

    Args:
        proto: initializers in it may be marks of tensors on the shelf.
        shelf: dense weights are put there.

    Raises:
        ModelFileError: a call contradicts itself.
    """
    if all((function.domain, function.name) != (DOMAIN, NAME) for function in proto.functions):
        return
    parts = {name for graph in graphs_of(proto) for name in _unpack_graph(graph, shelf)}
    read = {name for graph in graphs_of(proto) for node in graph.node for name in node.input}
    read.update(value.name for graph in graphs_of(proto) for value in graph.output)
    for graph in graphs_of(proto):
        for index in reversed(range(len(graph.initializer))):
            if graph.initializer[index].name in parts - read:
                del graph.initializer[index]
    if not _is_called(proto):
        _forget_function(proto)


def _unpack_graph(graph: onnx.GraphProto, shelf: list[onnx_ir.TensorProtocol]) -> set[str]:
    """Unpack one graph's weights; returns the names of bits and values."""
    fed = {value.name for value in graph.input}
    initializers = {tensor.name: tensor for tensor in graph.initializer if tensor.name not in fed}
    parts: set[str] = set()
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if not _is_call(node) or not all(name in initializers for name in node.input):
            continue
        _unpack_call(graph, node, [initializers[name] for name in node.input], shelf)
        parts.update(node.input)
        del graph.node[index]
    return parts


def _unpack_call(graph: onnx.GraphProto, node: onnx.NodeProto, parts: list[onnx.TensorProto], shelf: list[onnx_ir.TensorProtocol]) -> None:
    """Add the initializer that a call makes."""
    name = node.output[0] if node.output else ""
    shapes = [tuple(attribute.ints) for attribute in node.attribute if attribute.name == SHAPE]
    if len(parts) != 2 or len(shapes) != 1:
        raise ModelFileError("A packed weight lacks bits, values or a shape.", place=name, remedy="Save or copy the file again.")
    bits, values = parts
    made = onnx.TensorProto(name=name, data_type=values.data_type, dims=shapes[0], data_location=onnx.TensorProto.EXTERNAL)
    if fault := shape_fault(made):
        raise ModelFileError(f"A packed weight {fault}.", place=name, remedy="The file is damaged; save or copy it again.")
    dense = unpack(Packed(_contents(bits, shelf).numpy(), _contents(values, shelf).numpy(), shapes[0]), name)
    made.external_data.add(key="location", value=f"{MARK}{len(shelf)}")
    described = {entry.key: entry.value for entry in values.metadata_props}
    shelf.append(
        onnx_ir.Tensor(
            dense, dtype=onnx_ir.DataType(made.data_type), name=name, doc_string=values.doc_string or None, metadata_props=described
        )
    )
    graph.initializer.append(made)


def _contents(tensor: onnx.TensorProto, shelf: list[onnx_ir.TensorProtocol]) -> onnx_ir.TensorProtocol:
    """What an initializer holds: in the message, or on the shelf."""
    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    return shelf[int(location.removeprefix(MARK))] if location.startswith(MARK) else onnx_ir.from_proto(tensor)


def _is_call(node: onnx.NodeProto) -> bool:
    return (node.domain, node.op_type) == (DOMAIN, NAME)


def _is_called(proto: onnx.ModelProto) -> bool:
    inside = any(_is_call(node) for function in proto.functions for node in function.node)
    return inside or any(_is_call(node) for graph in graphs_of(proto) for node in graph.node)


def _forget_function(proto: onnx.ModelProto) -> None:
    for index in reversed(range(len(proto.functions))):
        if (proto.functions[index].domain, proto.functions[index].name) == (DOMAIN, NAME):
            del proto.functions[index]
    if any(function.domain == DOMAIN for function in proto.functions):
        return
    for index in reversed(range(len(proto.opset_import))):
        if proto.opset_import[index].domain == DOMAIN:
            del proto.opset_import[index]
