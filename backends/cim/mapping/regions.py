"""Cutting a lowered program: its own operators one by one, and between them maximal regions of standard operators.

A region holds connected nodes that lie behind equally many changes between crossbars, vector units and host, so that regions and own
operators can be done one after the other. Nodes that widen what they read (DequantizeLinear) and nodes made of constants go, copied,
to where they are read. Linear in nodes and edges.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import onnx_ir

from netwright.backends.cim.mapping.pieces import batch_axes, piece_of
from netwright.backends.cim.mapping.work import why_host
from netwright.backends.cim.ops.schemas import DOMAIN
from netwright.backends.cim.program.model import Work
from netwright.ir.opinfo import subgraphs
from netwright.ir.program import Program

Kind: TypeAlias = Literal["own", "vector", "host"]


@dataclass(frozen=True)
class Piece:
    """A region of the graph.

    Attributes:
        name: of its last node.
        nodes: in graph order.
        inputs: values that it reads and others make, in the order of first use.
        outputs: values that it makes and others read, or the graph gives.
        program: a small program of its own: the region's inputs and outputs by their names, constants inside. Where `batchable`,
            the axis of samples is symbolic in inputs and outputs; everything else is static.
        batchable: samples may be stacked along the batch axes.
        work: of one sample.
        why_host: why a vector unit cannot run it; empty where it can.
    """

    name: str
    nodes: tuple[onnx_ir.Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    program: Program
    batchable: bool
    work: Work
    why_host: str = ""


Step: TypeAlias = onnx_ir.Node | Piece


@dataclass(frozen=True)
class Cut:
    """A lowered program in steps.

    Attributes:
        steps: own operators (nodes of the domain `netwright.cim`) and regions, in an order in which they can be done.
        batch_axes: by value, the axis of size 1 that is the batch; −1 where there is none.
    """

    steps: tuple[Step, ...]
    batch_axes: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The regions."""
        return tuple(step for step in self.steps if isinstance(step, Piece))


def cut(program: Program, seams: Collection[onnx_ir.Node] = ()) -> Cut:
    """Cut a lowered program of static shapes into own operators and regions.

    Args:
        program: every dimension a number (the batch 1); shapes inferred.
        seams: nodes that regions end before.
    """
    nodes = list(program.graph)
    carried = {node for node in nodes if is_carried(node)}
    levels, kinds, reasons = _levels(nodes, carried, seams)
    roots = _components([node for node in nodes if node in kinds and kinds[node] != "own"], levels, kinds, carried)
    axes = batch_axes(program)
    readers = _readers(nodes, carried)
    grouped: dict[onnx_ir.Node, list[onnx_ir.Node]] = {}
    for node in nodes:
        if node in roots:
            grouped.setdefault(roots[node], []).append(node)
    order: list[tuple[int, int, Step]] = []
    position = {node: place for place, node in enumerate(nodes)}
    for node in nodes:
        if kinds.get(node) == "own":
            order.append((levels[node], position[node], node))
    for members in grouped.values():
        brought = sorted({one for node in members for one in _brought(node, carried)}, key=position.__getitem__)
        inside = sorted({*members, *brought}, key=position.__getitem__)
        reason = next((reasons[node] for node in members if reasons[node]), "")
        order.append((levels[members[0]], position[members[0]], piece_of(program, inside, set(members), readers, axes, reason)))
    order.sort(key=lambda entry: entry[:2])
    return Cut(tuple(step for _, _, step in order), axes)


def reads(node: onnx_ir.Node) -> Iterator[onnx_ir.Value]:
    """Everything that a node reads, what its subgraphs capture included."""
    for value in node.inputs:
        if value is not None:
            yield value
    for _, graph in subgraphs(node):
        for inner in graph.all_nodes():
            for value in inner.inputs:
                if value is not None and value.graph is node.graph:
                    yield value


def is_carried(node: onnx_ir.Node) -> bool:
    """Goes along with its readers: made of constants only, or a DequantizeLinear that only regions read."""
    if node.domain == DOMAIN or any(value.is_graph_output() for value in node.outputs) or subgraphs(node):
        return False
    if any(user.domain == DOMAIN for value in node.outputs for user, _ in value.uses()):
        return False
    if node.op_type == "DequantizeLinear":
        return True
    return node.op_type == "Constant" or (bool(node.inputs) and all(value is None or value.is_initializer() for value in node.inputs))


def _sources(node: onnx_ir.Node, carried: set[onnx_ir.Node]) -> Iterator[onnx_ir.Node]:
    """The nodes that make what a node reads; through those that are carried, what these read."""
    for value in reads(node):
        producer = value.producer()
        if producer is None:
            continue
        if producer in carried:
            yield from _sources(producer, carried)
        else:
            yield producer


def _brought(node: onnx_ir.Node, carried: set[onnx_ir.Node]) -> Iterator[onnx_ir.Node]:
    for value in reads(node):
        producer = value.producer()
        if producer is not None and producer in carried:
            yield producer
            yield from _brought(producer, carried)


def _readers(nodes: list[onnx_ir.Node], carried: set[onnx_ir.Node]) -> defaultdict[onnx_ir.Value, set[onnx_ir.Node]]:
    """The nodes that read a value, themselves or through those that are carried."""
    found: defaultdict[onnx_ir.Value, set[onnx_ir.Node]] = defaultdict(set)
    for node in reversed(nodes):
        through = {reader for value in node.outputs for reader in found[value]} if node in carried else {node}
        for value in reads(node):
            found[value] |= through
    return found


def _levels(
    nodes: list[onnx_ir.Node], carried: set[onnx_ir.Node], seams: Collection[onnx_ir.Node]
) -> tuple[dict[onnx_ir.Node, int], dict[onnx_ir.Node, Kind], dict[onnx_ir.Node, str]]:
    """How many changes of kind and seams lie before each node, its kind, and why the host must run it."""
    levels: dict[onnx_ir.Node, int] = {}
    kinds: dict[onnx_ir.Node, Kind] = {}
    reasons: dict[onnx_ir.Node, str] = {}
    for node in nodes:
        if node in carried:
            continue
        reasons[node] = "" if node.domain == DOMAIN else why_host(node)
        kinds[node] = "own" if node.domain == DOMAIN else "host" if reasons[node] else "vector"
        levels[node] = max((levels[one] + (kinds[one] != kinds[node]) for one in _sources(node, carried)), default=0)
        levels[node] += node in seams
    return levels, kinds, reasons


def _components(
    nodes: list[onnx_ir.Node], levels: dict[onnx_ir.Node, int], kinds: dict[onnx_ir.Node, Kind], carried: set[onnx_ir.Node]
) -> dict[onnx_ir.Node, onnx_ir.Node]:
    """Connected nodes of one level and kind, by one of them."""
    parent = {node: node for node in nodes}

    def root(node: onnx_ir.Node) -> onnx_ir.Node:
        while parent[node] is not node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for node in nodes:
        for source in _sources(node, carried):
            if source in parent and levels[source] == levels[node] and kinds[source] == kinds[node]:
                parent[root(node)] = root(source)
    return {node: root(node) for node in nodes}
