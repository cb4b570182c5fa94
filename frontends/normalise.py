"""Brings a fresh `onnx_ir.Model` into the one form that passes expect: weights are initializers, not Constant nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx_ir

_FORMS: dict[str, Callable[[onnx_ir.Attr], onnx_ir.TensorProtocol]] = {
    "value": lambda attr: attr.as_tensor(),
    "value_float": lambda attr: onnx_ir.Tensor(np.array(attr.as_float(), dtype=np.float32)),
    "value_floats": lambda attr: onnx_ir.Tensor(np.array(attr.as_floats(), dtype=np.float32)),
    "value_int": lambda attr: onnx_ir.Tensor(np.array(attr.as_int(), dtype=np.int64)),
    "value_ints": lambda attr: onnx_ir.Tensor(np.array(attr.as_ints(), dtype=np.int64)),
    "value_string": lambda attr: onnx_ir.StringTensor([attr.as_string().encode()], shape=onnx_ir.Shape([])),
    "value_strings": lambda attr: onnx_ir.StringTensor(
        [text.encode() for text in attr.as_strings()], shape=onnx_ir.Shape([len(attr.as_strings())])
    ),
}
"""The forms of the Constant operator's one attribute (ONNX operator set 13)."""


def lift_constants(model: onnx_ir.Model) -> int:
    """Turn Constant nodes into initializers of their own graph, in the main graph and in If, Loop and Scan bodies.

    Bodies of model-local functions have no initializers in ONNX and keep their Constant nodes, as does a Constant whose attribute
    refers to a function's. A value that has no name gets one. A Constant that is itself a graph output is kept: an initializer as
    an output is legal ONNX that several runtimes mishandle.

    Args:
        model: changed in place.

    Returns:
        How many were lifted.
    """
    return sum(_lift_in(graph) for graph in (model.graph, *model.graph.subgraphs()))


def _lift_in(graph: onnx_ir.Graph) -> int:
    lifted = 0
    for node in list(_constants(graph)):
        if node.outputs[0].is_graph_output():
            continue
        tensor = _tensor_of(node)
        if tensor is None:
            continue
        _lift(graph, node, tensor)
        lifted += 1
    return lifted


def _constants(graph: onnx_ir.Graph) -> Iterator[onnx_ir.Node]:
    return (node for node in graph if node.op_type == "Constant" and node.domain in ("", "ai.onnx") and len(node.outputs) == 1)


def _tensor_of(node: onnx_ir.Node) -> onnx_ir.TensorProtocol | None:
    for name, attr in node.attributes.items():
        if name in _FORMS and not attr.is_ref():
            return _FORMS[name](attr)
    return None


def _lift(graph: onnx_ir.Graph, node: onnx_ir.Node, tensor: onnx_ir.TensorProtocol) -> None:
    old = node.outputs[0]
    name = old.name or _free_name(graph, node)
    new = onnx_ir.Value(name=name, type=onnx_ir.TensorType(tensor.dtype), shape=onnx_ir.Shape(tensor.shape.numpy()), const_value=tensor)
    new.metadata_props.update(old.metadata_props)
    old.replace_all_uses_with(new)
    graph.remove(node, safe=True)
    tensor.name = name
    graph.register_initializer(new)


def _free_name(graph: onnx_ir.Graph, node: onnx_ir.Node) -> str:
    stem = f"{node.name or graph.name or 'constant'}.value"
    name, count = stem, 0
    while name in graph.initializers:
        count += 1
        name = f"{stem}.{count}"
    return name
