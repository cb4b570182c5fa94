"""A lowered program cut into stages: what runs as one piece of standard ONNX, and netwright's own operators between.

Pieces end where those of a mapped program do, but for cuts that a tile's memory asks for: ONNX Runtime fuses DequantizeLinear, operator,
QuantizeLinear into a kernel of integers where it finds all three in one piece, and that rounds otherwise than three kernels do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import onnx_ir

from netwright.backends.cim.ops.schemas import DOMAIN
from netwright.ir.errors import DataError
from netwright.ir.opinfo import subgraphs
from netwright.ir.program import Program

Turn: TypeAlias = tuple[int, str]
"""When a node runs: how many changes between crossbars, vector units and host lie before it, and on which of these."""

AFTER: Turn = (-1, "")
"""The turn of a caller who wants a value."""


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """Standard operators that run as one piece, or own operators, one after the other.

    Attributes:
        region: the standard ones as a program; None where there is none.
        inputs: values that the region reads.
        outputs: values that the region makes for others.
        own: own operators, in order.
    """

    region: Program | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    own: tuple[onnx_ir.Node, ...]


@dataclass(frozen=True, slots=True)
class _Needs:
    """What nodes read.

    Attributes:
        reads: by node that is needed.
        place: of these in the graph.
        given: names of values that need not be computed.
        carried: nodes that go along, copied, to where they are read.
    """

    reads: Mapping[onnx_ir.Node, Sequence[onnx_ir.Value]]
    place: Mapping[onnx_ir.Node, int]
    given: frozenset[str]
    carried: frozenset[onnx_ir.Node]

    def brought(self, node: onnx_ir.Node) -> Iterator[onnx_ir.Node]:
        """The nodes that go along with one, those first that others read."""
        for value in self.reads[node]:
            maker = self._maker(value)
            if maker in self.carried:
                yield from self.brought(maker)
                yield maker

    def values(self, node: onnx_ir.Node) -> Iterator[onnx_ir.Value]:
        """The values that others make for a node and those that go along with it."""
        for one in (*self.brought(node), node):
            yield from (value for value in self.reads[one] if self._maker(value) not in self.carried)

    def sources(self, node: onnx_ir.Node) -> Iterator[onnx_ir.Node]:
        """The nodes that must have run before."""
        made = (self._maker(value) for value in self.values(node))
        yield from (maker for maker in made if maker is not None)

    def _maker(self, value: onnx_ir.Value) -> onnx_ir.Node | None:
        return None if value.name in self.given else value.producer()


def is_own(node: onnx_ir.Node) -> bool:
    """True of netwright's own operators for chips."""
    return node.domain == DOMAIN


def stages(program: Program, given: Collection[str], wanted: Sequence[str]) -> list[Stage]:
    """The stages that lead from given values to wanted ones, in order. Linear in nodes.

    A node's turn is the number of changes between own operators, those of vector units and those of the host on the longest way to it.
    Nodes that mapping copies to where they are read (of constants, or widening bytes) are copied here, too.

    Args:
        program: lowered; left as it is.
        given: names of values of the main graph that need not be computed.
        wanted: names of values of the main graph.

    Raises:
        DataError: a wanted value is not there, or an input that is needed is not given.
    """
    from netwright.backends.cim.mapping.regions import is_carried  # mapping builds on what the simulator builds on

    graph = program.graph
    outer = {value.name or "": value for value in (*graph.inputs, *graph.initializers.values())}
    outer.update((value.name or "", value) for node in graph for value in node.outputs)
    for name in wanted:
        if name not in outer:
            raise DataError(
                f"The graph has no value {name!r} that could be handed out.",
                place=name,
                remedy="Name a value of the main graph; those inside subgraphs have no single value.",
            )
    inner = frozenset(outer.values())
    found = _needed([outer[name] for name in wanted], frozenset(given), inner)
    reads = {node: tuple(_reads(node, inner)) for node in graph if node in found}
    carried = frozenset(node for node in reads if _is_constant(node) or is_carried(node))
    needs = _Needs(reads, {node: place for place, node in enumerate(reads)}, frozenset(given), carried)
    asked = frozenset(wanted)
    turns = _turns([node for node in reads if node not in carried or any(value.name in asked for value in node.outputs)], needs)
    readers: dict[onnx_ir.Value, set[Turn]] = {outer[name]: {AFTER} for name in wanted}
    at: dict[Turn, list[onnx_ir.Node]] = {}
    for node, turn in turns.items():
        at.setdefault(turn, []).append(node)
        for value in needs.values(node):
            readers.setdefault(value, set()).add(turn)
    return [_stage(program, at[turn], needs, readers, turn) for turn in sorted(at)]


def _turns(nodes: Sequence[onnx_ir.Node], needs: _Needs) -> dict[onnx_ir.Node, Turn]:
    from netwright.backends.cim.mapping.work import why_host

    found: dict[onnx_ir.Node, Turn] = {}
    for node in nodes:
        kind = "own" if is_own(node) else "host" if why_host(node) else "vector"
        before = (found[source] for source in needs.sources(node))
        found[node] = max((level + (other != kind) for level, other in before), default=0), kind
    return found


def _stage(program: Program, nodes: Sequence[onnx_ir.Node], needs: _Needs, readers: Mapping[onnx_ir.Value, set[Turn]], turn: Turn) -> Stage:
    if turn[1] == "own":
        return Stage(None, (), (), tuple(nodes))
    outputs = [value for node in nodes for value in node.outputs if readers.get(value, set()) - {turn}]
    inside = {one for node in nodes for one in (*needs.brought(node), node)}
    ordered = sorted(inside, key=needs.place.__getitem__)
    initializers: dict[onnx_ir.Value, None] = {}
    inputs: dict[onnx_ir.Value, None] = {}
    for value in (value for node in ordered for value in needs.reads[node]):
        if value.name in needs.given:
            inputs[value] = None
        elif value.is_initializer():
            initializers[value] = None
        elif value.producer() not in inside:
            inputs[value] = None
    graph = program.graph
    view = onnx_ir.GraphView(
        list(inputs),
        outputs,
        nodes=ordered,
        initializers=list(initializers),
        opset_imports=graph.opset_imports,
        name=graph.name,
    )
    functions = [function.clone() for function in program.model.functions.values()]
    region = Program(onnx_ir.Model(view.clone(), ir_version=program.model.ir_version, functions=functions))
    return Stage(region, tuple(v.name or "" for v in inputs), tuple(v.name or "" for v in outputs), ())


def _needed(wanted: Sequence[onnx_ir.Value], given: frozenset[str], inner: frozenset[onnx_ir.Value]) -> frozenset[onnx_ir.Node]:
    found: set[onnx_ir.Node] = set()
    pending = list(wanted)
    while pending:
        value = pending.pop()
        maker = value.producer()
        if value.name in given or value.is_initializer():
            continue
        if maker is None:
            raise DataError(f"The input {value.name!r} is needed.", place=f"input {value.name}", remedy="Feed it.")
        if maker not in found:
            found.add(maker)
            pending.extend(_reads(maker, inner))
    return frozenset(found)


def _reads(node: onnx_ir.Node, inner: frozenset[onnx_ir.Value]) -> Iterator[onnx_ir.Value]:
    """The values of the main graph that a node reads, inside its subgraphs too."""
    yield from (value for value in node.inputs if value is not None)
    for _, body in subgraphs(node):
        for nested in body.all_nodes():
            yield from (value for value in nested.inputs if value is not None and value in inner)
        yield from (value for value in body.outputs if value in inner)


def _is_constant(node: onnx_ir.Node) -> bool:
    return node.op_type == "Constant" and not node.domain
