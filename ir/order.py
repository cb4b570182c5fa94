"""Topological order: whether a graph has it, and how to give it back."""

from __future__ import annotations

import heapq

import onnx_ir

from netwright.ir.errors import VerifyError
from netwright.ir.opinfo import site, subgraphs


def is_sorted(graph: onnx_ir.Graph) -> bool:
    """True where every node of the graph stands after the nodes that it, or a graph that it holds, reads from."""
    seen: set[onnx_ir.Node] = set()
    for node in graph:
        if not _needs(node, graph) <= seen:
            return False
        seen.add(node)
    return True


def stable_order(graph: onnx_ir.Graph) -> list[onnx_ir.Node]:
    """The graph's nodes in an order in which each stands after what it reads, as near to the present one as can be.

    Of the nodes that could come next, the one that stands first now does. Linear but for a factor log(nodes).

    Raises:
        VerifyError: the graph has a cycle.
    """
    nodes = list(graph)
    place = {node: index for index, node in enumerate(nodes)}
    waiting: dict[onnx_ir.Node, int] = {}
    readers: dict[onnx_ir.Node, list[onnx_ir.Node]] = {}
    for node in nodes:
        needs = _needs(node, graph)
        waiting[node] = len(needs)
        for needed in needs:
            readers.setdefault(needed, []).append(node)
    ready = [place[node] for node in nodes if not waiting[node]]
    order: list[onnx_ir.Node] = []
    while ready:
        node = nodes[heapq.heappop(ready)]
        order.append(node)
        for reader in readers.get(node, ()):
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, place[reader])
    if len(order) < len(nodes):
        stuck = next(node for node in nodes if waiting[node])
        raise VerifyError("the graph has a cycle", place=f"%{site(stuck)}", remedy="No order of the nodes can compute it.")
    return order


def _needs(node: onnx_ir.Node, graph: onnx_ir.Graph) -> set[onnx_ir.Node]:
    """The nodes of the graph that a node, or a graph that it holds, reads from."""
    found = {value.producer() for value in node.inputs if value is not None}
    for _, inner in subgraphs(node):
        for within in inner:
            found |= _needs(within, graph)
        found |= {value.producer() for value in inner.outputs}
    return {needed for needed in found if needed is not None and needed.graph is graph}
