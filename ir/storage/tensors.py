"""What a `TensorProto` claims, checked against what it holds, before anything is allocated for it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import onnx
import onnx_ir

from netwright.ir.storage.limits import DENSE_FACTOR, DENSE_LIMIT, RANK_LIMIT

_KNOWN = {int(dtype.value): dtype for dtype in onnx_ir.DataType if dtype != onnx_ir.DataType.UNDEFINED}

_TYPED = (
    ("float_data", (1, 14)),
    ("double_data", (11, 15)),
    ("int64_data", (7,)),
    ("uint64_data", (12, 13)),
    ("string_data", (8,)),
    ("int32_data", tuple(number for number in _KNOWN if number not in (1, 7, 8, 11, 12, 13, 14, 15))),
)
"""Which element types each typed field holds (onnx.proto, `TensorProto`)."""

FIELD_OF = {number: name for name, numbers in _TYPED for number in numbers}
_ENTRIES_PER_ELEMENT = {14: 2, 15: 2}


def graphs_of(proto: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The main graph and all subgraphs, those in functions too, outer before inner."""
    pending: list[onnx.GraphProto] = [proto.graph]
    for function in proto.functions:
        for node in function.node:
            pending.extend(subgraphs_of(node.attribute))
        pending.extend(subgraphs_of(function.attribute_proto))
    while pending:
        graph = pending.pop()
        yield graph
        for node in graph.node:
            pending.extend(subgraphs_of(node.attribute))


def subgraphs_of(attributes: Iterable[onnx.AttributeProto]) -> Iterator[onnx.GraphProto]:
    """The graphs in a node's attributes."""
    for attribute in attributes:
        if attribute.type == onnx.AttributeProto.GRAPH or attribute.HasField("g"):
            yield attribute.g
        if attribute.graphs:
            yield from attribute.graphs


def tensors_of(proto: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Every dense tensor with the name of what it belongs to: initializers, attributes, functions' default attributes."""
    for graph in graphs_of(proto):
        for tensor in graph.initializer:
            yield tensor.name, tensor
        for node in graph.node:
            yield from _attribute_tensors(node.output[0] if node.output else node.name, node.attribute)
    for function in proto.functions:
        yield from _attribute_tensors(function.name, function.attribute_proto)
        for node in function.node:
            yield from _attribute_tensors(node.output[0] if node.output else node.name, node.attribute)


def _attribute_tensors(owner: str, attributes: Iterable[onnx.AttributeProto]) -> Iterator[tuple[str, onnx.TensorProto]]:
    for attribute in attributes:
        if attribute.HasField("t") or (attribute.type == onnx.AttributeProto.TENSOR and not attribute.ref_attr_name):
            yield owner, attribute.t
        for tensor in attribute.tensors:
            yield owner, tensor


def shape_fault(tensor: onnx.TensorProto) -> str | None:
    """What is wrong with the tensor's type or dimensions, as the rest of a sentence."""
    if tensor.data_type not in _KNOWN:
        return f"has the unknown element type {tensor.data_type}"
    if len(tensor.dims) > RANK_LIMIT:
        return f"has {len(tensor.dims)} dimensions (at most {RANK_LIMIT} are possible)"
    if any(dim < 0 for dim in tensor.dims):
        return f"has a negative dimension: {list(tensor.dims)}"
    return None


def nbytes_of(tensor: onnx.TensorProto) -> int:
    """Bytes that the tensor's dimensions call for in raw layout."""
    return -(-math.prod(tensor.dims) * _KNOWN[tensor.data_type].bitwidth // 8)


def payload_fault(tensor: onnx.TensorProto) -> str | None:
    """What is wrong between an in-file tensor's dimensions and its data, as the rest of a sentence."""
    if fault := shape_fault(tensor):
        return fault
    count = math.prod(tensor.dims)
    if tensor.HasField("raw_data"):
        if tensor.data_type == onnx.TensorProto.STRING:
            return "holds strings as raw bytes"
        wanted, held = nbytes_of(tensor), len(tensor.raw_data)
        return None if wanted == held else f"of shape {list(tensor.dims)} calls for {wanted} bytes and holds {held}"
    bits = _KNOWN[tensor.data_type].bitwidth if tensor.data_type != onnx.TensorProto.STRING else 8
    wanted = count * _ENTRIES_PER_ELEMENT.get(tensor.data_type, 1)
    held = len(getattr(tensor, FIELD_OF[tensor.data_type]))
    fits = held == wanted or (bits < 8 and held == -(-count * bits // 8))
    return None if fits else f"of shape {list(tensor.dims)} calls for {wanted} elements and holds {held}"


def dense_fault(sparse: onnx.SparseTensorProto) -> str | None:
    """Why a sparse tensor cannot be made dense, as the rest of a sentence."""
    for part in (sparse.values, sparse.indices):
        if part.data_location == onnx.TensorProto.EXTERNAL:
            return "keeps its data in another file"
        if fault := payload_fault(part):
            return fault
    if sparse.values.data_type == onnx.TensorProto.STRING or sparse.indices.data_type != onnx.TensorProto.INT64:
        return "has values or indices of the wrong type"
    if len(sparse.dims) > RANK_LIMIT or any(dim < 0 for dim in sparse.dims):
        return f"has impossible dimensions {list(sparse.dims)}"
    dense = math.prod(sparse.dims) * _KNOWN[sparse.values.data_type].bitwidth // 8
    if dense > max(DENSE_LIMIT, DENSE_FACTOR * sparse.ByteSize()):
        return f"would take {dense} bytes when made dense"
    return None
