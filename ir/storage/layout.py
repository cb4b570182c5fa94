"""Lays a graph out as a serialized ModelProto, tensors' bytes still missing: their lengths are enough.

The library `onnx_ir` serializes nodes and values; messages that hold tensors (model, graph, function, and nodes with subgraphs or
tensors in attributes) are assembled here, so that no tensor is ever inside a protobuf object. Field numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableSequence
from dataclasses import dataclass, field
from typing import cast

import onnx
import onnx_ir
from onnx_ir import serde

from netwright.ir.expand import OVERLOADS_FROM, function_of, is_own
from netwright.ir.storage import wire
from netwright.ir.storage.limits import INLINE_LIMIT
from netwright.ir.storage.packed import DOMAIN, FUNCTIONS_FROM, VERSION, Packer, unpack_function

FUNCTION_VALUE_INFO_FROM = 10
"""First IR version in which functions carry value_info."""

_QUANT_NAMES = "quant_parameter_tensor_names"
"""Where onnx_ir keeps a value's quantization annotation, in `value.meta`."""


@dataclass(slots=True)
class Layout:
    """A message in parts: bytes, and tensors whose raw bytes go in their place.

    Attributes:
        parts: in file order.
        size: bytes of the whole.
    """

    parts: list[bytes | onnx_ir.TensorProtocol] = field(default_factory=list[bytes | onnx_ir.TensorProtocol])
    size: int = 0

    def add(self, data: bytes) -> None:
        """Append bytes."""
        if data:
            self.parts.append(data)
            self.size += len(data)

    def add_tensor(self, tensor: onnx_ir.TensorProtocol) -> None:
        """Append a tensor's raw bytes."""
        self.parts.append(tensor)
        self.size += tensor.nbytes

    def nest(self, number: int, inner: Layout) -> None:
        """Append a submessage."""
        self.add(wire.header(number, inner.size))
        self.parts.extend(inner.parts)
        self.size += inner.size


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a tensor lies in an external data file."""

    location: str
    offset: int
    length: int


Place = Callable[[onnx_ir.TensorProtocol], Placed | None]
"""Says of an initializer's tensor where it lies outside, or None for inside."""


def layout_of(model: onnx_ir.Model, *, place: Place = lambda _tensor: None, value_info: bool = False, sparse: bool = False) -> Layout:
    """The model's file, part by part. Linear in nodes; no tensor is read but those of under 1 kB, and with `sparse` all.

    Args:
        model: left as it is.
        place: which initializers lie outside the file.
        value_info: whether types and shapes of inner values are written.
        sparse: whether weights with many zeros are written in compact form; see `netwright.ir.storage.packed`.

    Raises:
        UnsupportedModelError: `sparse`, and the model's opset is too old for it.
    """
    writer = _Writer(
        place,
        value_info=value_info,
        ir_version=model.ir_version,
        opset=model.opset_imports.get("", 0),
        packer=Packer(model) if sparse else None,
    )
    return writer.model(model)


class _Writer:
    def __init__(self, place: Place, *, value_info: bool, ir_version: int, opset: int, packer: Packer | None) -> None:
        self._place = place
        self._expansions: dict[tuple[str, str, str], onnx_ir.Function] = {}
        self._packer = packer
        self._value_info = value_info
        self._ir_version = ir_version
        self._opset = opset

    def model(self, model: onnx_ir.Model) -> Layout:
        graph = self.graph(model.graph, functions=model.functions.values())
        functions = [self.function(function) for function in model.functions.values()]
        functions += [self.function(function) for function in self._expansions.values()]
        packed = self._packer is not None and self._packer.used
        head = onnx.ModelProto(ir_version=max(model.ir_version, FUNCTIONS_FROM) if packed else model.ir_version)
        if self._expansions:
            head.ir_version = max(head.ir_version, OVERLOADS_FROM)
        for name in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
            if found := getattr(model, name):
                setattr(head, name, found)
        _opsets_into(head.opset_import, {**model.opset_imports, DOMAIN: VERSION} if packed else model.opset_imports)
        _props_into(head.metadata_props, model.metadata_props)
        for configuration in model.device_configurations:
            head.configuration.append(serde.serialize_model_configuration(configuration))
        out = Layout()
        out.add(head.SerializeToString())
        out.nest(7, graph)
        for function in functions:
            out.nest(25, function)
        if packed:
            out.add(wire.bytes_field(25, unpack_function(model.opset_imports[""])))
        return out

    def graph(self, graph: onnx_ir.Graph, *, functions: Iterable[onnx_ir.Function] = ()) -> Layout:
        head = onnx.GraphProto()
        _texts_into(head, name=graph.name, doc_string=graph.doc_string)
        inputs = {value.name for value in graph.inputs}
        for value in graph.inputs:
            head.input.append(serde.serialize_value(value))
        for value in graph.outputs:
            head.output.append(serde.serialize_value(value))
        for value in graph.initializers.values():
            if value.name not in inputs and (value.metadata_props or value.doc_string):
                head.value_info.append(serde.serialize_value(value))
        out = Layout()
        weights = [value for value in graph.initializers.values() if value.const_value is not None]
        packed = {} if self._packer is None else self._packer.packed(value for value in weights if value.name not in inputs)
        for weight in packed.values():
            out.add(wire.bytes_field(1, weight.call.SerializeToString()))
        for node in graph:
            out.nest(1, self.node(node))
            self._describe(head.value_info, (value for value in node.outputs if not value.is_graph_output()))
        self._describe_functions(head, functions)
        _annotations_into(head, graph)
        _props_into(head.metadata_props, graph.metadata_props)
        for value in weights:
            parts = packed[value].parts if value in packed else (value.const_value,)
            for tensor in parts:
                assert tensor is not None
                name = tensor.name if value in packed else value.name
                out.nest(5, self.tensor(tensor, name or "", placed=self._place(tensor)))
        out.add(head.SerializeToString())
        return out

    def function(self, function: onnx_ir.Function) -> Layout:
        head = onnx.FunctionProto()
        _texts_into(head, name=function.name, domain=function.domain, overload=function.overload, doc_string=function.doc_string)
        _opsets_into(head.opset_import, function.opset_imports)
        _props_into(head.metadata_props, function.metadata_props)
        head.input.extend(value.name or "" for value in function.inputs)
        head.output.extend(value.name or "" for value in function.outputs)
        out = Layout()
        for attr in function.attributes.values():
            if attr.value is None:
                head.attribute.append(attr.name)
            else:
                out.nest(11, self.attribute(attr))
        if self._ir_version >= FUNCTION_VALUE_INFO_FROM:
            self._describe(head.value_info, function.inputs)
        for node in function:
            out.nest(7, self.node(node))
            if self._ir_version >= FUNCTION_VALUE_INFO_FROM:
                self._describe(head.value_info, node.outputs)
        out.add(head.SerializeToString())
        return out

    def node(self, node: onnx_ir.Node) -> Layout:
        if is_own(node):
            return self._own(node)
        out = Layout()
        heavy = [attr for attr in node.attributes.values() if _is_heavy(attr)]
        if not heavy:
            out.add(serde.serialize_node(node).SerializeToString())
            return out
        head = onnx.NodeProto(op_type=node.op_type)
        _texts_into(head, domain=node.domain, name=node.name, overload=node.overload, doc_string=node.doc_string)
        _props_into(head.metadata_props, node.metadata_props)
        head.input.extend("" if value is None else value.name or "" for value in node.inputs)
        outputs = [value.name or "" for value in node.outputs]
        while outputs and not outputs[-1]:
            outputs.pop()
        head.output.extend(outputs)
        for configuration in node.device_configurations:
            head.device_configurations.append(serde.serialize_node_device_configuration(configuration))
        out.add(head.SerializeToString())
        for attr in node.attributes.values():
            out.nest(5, self.attribute(attr))
        return out

    def _own(self, node: onnx_ir.Node) -> Layout:
        """A node of an own operator calls its expansion, a function for each signature."""
        function = function_of(node, self._opset)
        self._expansions.setdefault(function.identifier(), function)
        call = serde.serialize_node(node)
        call.overload = function.overload
        out = Layout()
        out.add(call.SerializeToString())
        return out

    def attribute(self, attr: onnx_ir.Attr) -> Layout:
        out = Layout()
        if attr.is_ref():
            out.add(serde.serialize_reference_attribute(attr).SerializeToString())
            return out
        if not _is_heavy(attr):
            out.add(serde.serialize_attribute(attr).SerializeToString())
            return out
        head = onnx.AttributeProto(name=attr.name, type=onnx.AttributeProto.AttributeType.Name(attr.type.value))
        _texts_into(head, doc_string=attr.doc_string)
        out.add(head.SerializeToString())
        if attr.type == onnx_ir.AttributeType.GRAPH:
            out.nest(6, self.graph(attr.as_graph()))
        elif attr.type == onnx_ir.AttributeType.GRAPHS:
            for graph in attr.as_graphs():
                out.nest(11, self.graph(graph))
        elif attr.type == onnx_ir.AttributeType.TENSOR:
            out.nest(5, self.tensor(attr.as_tensor(), attr.as_tensor().name or ""))
        else:
            for tensor in attr.as_tensors():
                out.nest(10, self.tensor(tensor, tensor.name or ""))
        return out

    def tensor(self, tensor: onnx_ir.TensorProtocol, name: str, *, placed: Placed | None = None) -> Layout:
        head = onnx.TensorProto(data_type=tensor.dtype.value, dims=tensor.shape.numpy())
        _texts_into(head, name=name, doc_string=tensor.doc_string)
        _props_into(head.metadata_props, tensor.metadata_props)
        out = Layout()
        if tensor.dtype == onnx_ir.DataType.STRING:
            head.string_data.extend(tensor.numpy().reshape(-1).tolist())
            out.add(head.SerializeToString())
            return out
        if placed is not None:
            head.data_location = onnx.TensorProto.EXTERNAL
            for key in ("location", "offset", "length"):
                head.external_data.add(key=key, value=str(getattr(placed, key)))
            out.add(head.SerializeToString())
            return out
        out.add(head.SerializeToString() + wire.header(9, tensor.nbytes))
        out.add_tensor(tensor)
        return out

    def _describe(self, into: MutableSequence[onnx.ValueInfoProto], values: Iterable[onnx_ir.Value]) -> None:
        for value in values:
            known = self._value_info and value.type is not None
            if value.name and (known or value.metadata_props or value.doc_string):
                into.append(serde.serialize_value(value))

    def _describe_functions(self, head: onnx.GraphProto, functions: Iterable[onnx_ir.Function]) -> None:
        """Before IR version 10 values of functions are described in the main graph, as onnx_ir reads them back."""
        if self._ir_version >= FUNCTION_VALUE_INFO_FROM or not self._value_info:
            return
        for function in functions:
            for value in (*function.inputs, *(value for node in function for value in node.outputs)):
                if value.name and value.type is not None:
                    head.value_info.append(serde.serialize_value(value, name=f"{function.domain}::{function.name}/{value.name}"))


def _is_heavy(attr: onnx_ir.Attr) -> bool:
    if attr.is_ref():
        return False
    if attr.type in (onnx_ir.AttributeType.GRAPH, onnx_ir.AttributeType.GRAPHS, onnx_ir.AttributeType.TENSORS):
        return True
    if attr.type != onnx_ir.AttributeType.TENSOR:
        return False
    tensor = attr.as_tensor()
    return tensor.dtype != onnx_ir.DataType.STRING and (tensor.nbytes >= INLINE_LIMIT or isinstance(tensor, onnx_ir.ExternalTensor))


def _texts_into(
    proto: onnx.GraphProto | onnx.FunctionProto | onnx.NodeProto | onnx.AttributeProto | onnx.TensorProto, **texts: str | None
) -> None:
    """Set the fields that have a text; an empty one would take two bytes."""
    for name, text in texts.items():
        if text:
            setattr(proto, name, text)


def _opsets_into(proto: MutableSequence[onnx.OperatorSetIdProto], opsets: dict[str, int]) -> None:
    proto.extend(onnx.helper.make_opsetid(domain, version) for domain, version in sorted(opsets.items()))


def _props_into(proto: MutableSequence[onnx.StringStringEntryProto], props: Mapping[str, str] | None) -> None:
    for key, value in sorted((props or {}).items()):
        proto.append(onnx.StringStringEntryProto(key=key, value=value))


def _annotations_into(head: onnx.GraphProto, graph: onnx_ir.Graph) -> None:
    seen: set[str] = set()
    values = (*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs))
    for value in values:
        names = cast("dict[str, str] | None", value.meta.get(_QUANT_NAMES))
        if not names or value.name in seen:
            continue
        seen.add(value.name or "")
        annotation = head.quantization_annotation.add(tensor_name=value.name or "")
        _props_into(annotation.quant_parameter_tensor_names, names)
