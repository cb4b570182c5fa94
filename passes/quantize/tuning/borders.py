"""Which units become static where each border between integers and floats costs a converter.

Units, and nodes that could take part in a region of integers, stand on one of two sides. A unit on either side costs what it takes there; a
value that is made on one side and read on the other costs a converter, once for all who read it. The least sum is a minimum cut (Picard
and Ratliff, Minimum cuts and related problems, 1975), exact and, for graphs of this kind, quick.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import networkx as nx
import onnx_ir

from netwright.ir.program import Program, constant
from netwright.passes.quantize.static.operators import computes_integers, moves_integers
from netwright.passes.quantize.tuning.converters import Converters
from netwright.passes.quantize.tuning.places import Place
from netwright.passes.quantize.units import Unit

_INTEGERS, _FLOATS = "integers", "floats"


@dataclass(frozen=True, slots=True)
class Sides:
    """What a unit costs.

    Attributes:
        place: where it stands.
        static: milliseconds as a kernel between integers.
        other: as the best of its other forms, float included.
    """

    place: Place
    static: float
    other: float


def static_units(program: Program, sides: Sequence[Sides], sizes: Mapping[str, int], converters: Converters) -> frozenset[Unit]:
    """The units that are to become static.

    Args:
        program: whose units they are.
        sides: of the units that could be static.
        sizes: elements by name, of the values that these units, and nodes between them, read and give.
        converters: what an element costs at a border.
    """
    if not sides:
        return frozenset()
    graph: nx.DiGraph[object] = nx.DiGraph()
    graph.add_nodes_from((_INTEGERS, _FLOATS))
    owner = owners(program, [one.place for one in sides])
    for one in sides:
        _link(graph, _INTEGERS, one.place.unit, one.other)
        _link(graph, one.place.unit, _FLOATS, one.static)
    for value in values_between(program, owner):
        producer = value.producer()
        maker: object = _FLOATS if producer is None else owner.get(producer, _FLOATS)
        readers: list[object] = [owner.get(user, _FLOATS) for user, _ in value.uses()] + ([_FLOATS] if value.is_graph_output() else [])
        elements = sizes.get(value.name or "", 0)
        free = isinstance(maker, Unit) and maker.sites[0].kind != "conv"
        entered, left = ("enter", value.name), ("leave", value.name)
        _link(graph, entered, maker, converters.quantize * elements)
        _link(graph, maker, left, 0.0 if free else converters.dequantize * elements)
        for reader in readers:
            _link(graph, reader, entered, float("inf"))
            _link(graph, left, reader, float("inf"))
    _, (integers, _) = cast("tuple[float, tuple[set[object], set[object]]]", nx.minimum_cut(graph, _INTEGERS, _FLOATS))
    return frozenset(one.place.unit for one in sides if one.place.unit in integers)


def owners(program: Program, places: Iterable[Place]) -> dict[onnx_ir.Node, object]:
    """By node, the unit that it belongs to, or the node itself where it could take part in a region of integers. Linear."""
    found: dict[onnx_ir.Node, object] = {node: place.unit for place in places for node in place.nodes}
    found.update((node, node) for node in program.graph if node not in found and (computes_integers(node) or moves_integers(node)))
    return found


def values_between(program: Program, owner: Mapping[onnx_ir.Node, object]) -> list[onnx_ir.Value]:
    """Values that go from one owner to another, or in or out of one."""
    found: list[onnx_ir.Value] = []
    every = (*program.graph.inputs, *(value for node in program.graph for value in node.outputs))
    for value in every:
        producer = value.producer()
        maker = None if producer is None else owner.get(producer)
        readers: set[object] = {owner.get(user) for user, _ in value.uses()}
        if value.is_graph_output():
            readers.add(None)
        if constant(value) is None and (readers - {maker}):
            found.append(value)
    return found


def _link(graph: nx.DiGraph[object], start: object, end: object, capacity: float) -> None:
    if start in (end, _FLOATS) or end == _INTEGERS:
        return  # nothing leaves the sink, nothing enters the source
    if graph.has_edge(start, end):
        capacity += cast("float", graph[start][end]["capacity"])
    graph.add_edge(start, end, capacity=capacity)
