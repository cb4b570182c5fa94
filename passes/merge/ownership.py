"""Which weights go with the operators that read them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import onnx_ir

from netwright.ir.opinfo import is_standard


def readers_of(weight: onnx_ir.Value) -> Iterator[onnx_ir.Node | None]:
    """The nodes that read a weight, also through Transpose and Identity, once for each time; None stands for a graph output."""
    if weight.is_graph_output():
        yield None
    for node, _ in weight.uses():
        if is_standard(node, "Transpose", "Identity"):
            yield from readers_of(node.outputs[0])
        else:
            yield node


def freed(weights: Iterable[onnx_ir.Value], nodes: Collection[onnx_ir.Node]) -> frozenset[onnx_ir.Value]:
    """Those weights that nobody reads any more once these nodes are gone."""
    return frozenset(weight for weight in dict.fromkeys(weights) if all(reader in nodes for reader in readers_of(weight)))


def in_one_graph(weights: Sequence[onnx_ir.Value]) -> bool:
    """Whether weights are initializers of one graph, so that one that takes their place can be read wherever they are."""
    return all(weight.is_initializer() for weight in weights) and len({owner_of(weight) for weight in weights}) == 1


def owner_of(weight: onnx_ir.Value) -> onnx_ir.Graph | None:
    """The graph that holds a constant, so that what replaces it is seen by the same readers; None inside functions."""
    node = weight.producer()
    graph = weight.graph if node is None else node.graph
    return graph if isinstance(graph, onnx_ir.Graph) else None
