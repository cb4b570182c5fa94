"""Brings a fresh `onnx_ir.Model` into the one form that passes expect: weights are initializers, nodes are named and in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx_ir

from netwright.ir.errors import ModelFileError

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


def name_nodes(model: onnx_ir.Model) -> None:
    """Give every node without a name, or with another node's name, a name of its own: that of the first value it makes.

    Args:
        model: changed in place. Linear in nodes.
    """
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        taken: set[str] = set()
        for node in graph.all_nodes():
            node.name = _own_name(node, taken)
            taken.add(node.name)


def _own_name(node: onnx_ir.Node, taken: set[str]) -> str:
    if node.name and node.name not in taken:
        return node.name
    stem = node.name or next((value.name for value in node.outputs if value.name), None) or node.op_type
    name, count = stem, 0
    while name in taken:
        count += 1
        name = f"{stem}.{count}"
    return name


def sort_nodes(model: onnx_ir.Model, place: str) -> None:
    """Put nodes in an order in which each comes after those it reads from, where the file's order is none.

    Args:
        model: changed in place. Linear in nodes.
        place: the file, for messages.

    Raises:
        ModelFileError: nodes read from each other in a circle.
    """
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        if all(_in_order(part) for part in (graph, *graph.subgraphs())):
            continue
        try:
            graph.sort()
        except ValueError as error:
            raise ModelFileError(
                f"The graph has a cycle through {_one_of_cycle(graph)!r}.",
                place=place,
                remedy="ONNX graphs have none; export the model again.",
            ) from error


def _in_order(graph: onnx_ir.Graph) -> bool:
    done: set[onnx_ir.Node] = set()
    for node in graph:
        for source in _sources(node):
            if source.graph is graph and source not in done:
                return False
        done.add(node)
    return True


def _sources(node: onnx_ir.Node) -> Iterator[onnx_ir.Node]:
    """The nodes that make what a node reads, itself or inside its subgraphs."""
    readers = [node]
    for attr in node.attributes.values():
        if attr.type == onnx_ir.AttributeType.GRAPH and not attr.is_ref():
            readers.extend(attr.as_graph().all_nodes())
        elif attr.type == onnx_ir.AttributeType.GRAPHS and not attr.is_ref():
            readers.extend(inner for graph in attr.as_graphs() for inner in graph.all_nodes())
    for reader in readers:
        for value in reader.inputs:
            if value is not None and (source := value.producer()) is not None:
                yield source


def _one_of_cycle(graph: onnx_ir.Graph) -> str:
    """A value on, or behind, a cycle: what is left once nodes whose sources are done are taken away again and again."""
    left = dict.fromkeys(graph)
    while True:
        ready = [node for node in left if not any(source in left for source in _sources(node) if source.graph is graph)]
        if not ready:
            break
        for node in ready:
            del left[node]
    stuck = next(iter(left), None)
    return (stuck.outputs[0].name if stuck is not None and stuck.outputs else None) or "?"
