"""Which values are to lie on grids, so that integers go from kernel to kernel and not only in and out of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import onnx_ir

from netwright.ir.program import Program, constant
from netwright.passes.quantize.sites import Site
from netwright.passes.quantize.static.operators import computes_integers, data_inputs, is_view, moves_integers
from netwright.passes.quantize.static.tails import Tail, tail_of
from netwright.passes.quantize.units import Unit


@dataclass(frozen=True, slots=True)
class Regions:
    """What becomes integers around the sites.

    Attributes:
        paired: values that get a grid, in graph order: the results of integer kernels, and float values that integer kernels read.
        tails: what ends each kernel: its own node, or the bias or bound behind it; by site or neighbour.
        results: the kernels whose result goes on as integers.
        neighbours: nodes without weights that become integer kernels, in graph order.
    """

    paired: tuple[onnx_ir.Value, ...]
    tails: dict[onnx_ir.Node, Tail]
    results: frozenset[onnx_ir.Node]
    neighbours: tuple[onnx_ir.Node, ...]

    @classmethod
    def of(cls, program: Program, units: Iterable[Unit]) -> Regions:
        """Two passes over the nodes: forwards, what can be integers; backwards, what an integer kernel asks for. Linear."""
        sites = {site.node: site for unit in units for site in unit.sites if site.kind in ("conv", "linear", "pair")}
        nodes = [node for graph in (program.graph, *program.graph.subgraphs()) for node in graph]
        tails = dict(_tails(nodes, sites))
        fused = {node for tail in tails.values() for node in tail.nodes[1:]}
        able = _able(nodes, sites, tails, fused)
        wanted, chosen = _wanted(nodes, sites, tails, fused, able)
        results = {node for node in sites if sites[node].kind == "conv" or tails[node].value in wanted} | chosen
        made = {tails[node].value for node in results}
        inputs = (value for graph in (program.graph, *program.graph.subgraphs()) for value in graph.inputs)
        every = (*inputs, *program.graph.initializers.values(), *(value for node in nodes for value in node.outputs))
        paired = [value for value in every if value in made or (value in wanted and not _passed_on(value, able))]
        return cls(tuple(paired), tails, frozenset(results), tuple(node for node in nodes if node in chosen))


def activations_of(program: Program, units: Iterable[Unit]) -> tuple[str, ...]:
    """The values that need a grid where these units become static, in graph order. Linear in nodes."""
    return tuple(value.name or "" for value in Regions.of(program, units).paired)


def _tails(nodes: list[onnx_ir.Node], sites: dict[onnx_ir.Node, Site]) -> Iterator[tuple[onnx_ir.Node, Tail]]:
    taken: set[onnx_ir.Node] = set()
    for node in nodes:
        if node in taken:
            continue
        if node in sites or computes_integers(node):
            tail = tail_of(node, sites[node].columns if node in sites and sites[node].kind == "linear" else None)
            taken.update(tail.nodes)
            yield node, tail


def _able(
    nodes: list[onnx_ir.Node], sites: dict[onnx_ir.Node, Site], tails: dict[onnx_ir.Node, Tail], fused: set[onnx_ir.Node]
) -> set[onnx_ir.Value]:
    """Values that are integers, or would be if anyone asked."""
    able = {value for node, site in sites.items() if site.kind == "conv" and (value := node.inputs[0]) is not None}
    for node in nodes:
        if node in fused:
            continue
        if node in sites:
            able.add(tails[node].value)
        elif moves_integers(node) and node.inputs[0] in able:
            able.update(node.outputs)
        elif node in tails:
            operands = [node.inputs[index] for index in data_inputs(node)]
            if all(_is_number(operand) or operand in able for operand in operands) and any(operand in able for operand in operands):
                able.add(tails[node].value)
    return able


def _wanted(
    nodes: list[onnx_ir.Node],
    sites: dict[onnx_ir.Node, Site],
    tails: dict[onnx_ir.Node, Tail],
    fused: set[onnx_ir.Node],
    able: set[onnx_ir.Value],
) -> tuple[set[onnx_ir.Value], set[onnx_ir.Node]]:
    """Values that an integer kernel reads, directly or through nodes that move integers; and the neighbours that become kernels."""
    wanted: set[onnx_ir.Value] = set()
    chosen: set[onnx_ir.Node] = set()
    for node in reversed(nodes):
        source = node.inputs[0] if node.inputs else None
        if node in fused or source is None:
            continue
        if node in sites:
            operands = node.inputs if sites[node].kind == "pair" else (source,)
            wanted.update(operand for operand in operands if operand is not None)
        elif moves_integers(node):
            if any(output in wanted for output in node.outputs) and (is_view(node) or source in able) and constant(source) is None:
                wanted.add(source)
        elif node in tails and tails[node].value in wanted and tails[node].value in able:
            chosen.add(node)
            operands = (node.inputs[index] for index in data_inputs(node))
            wanted.update(operand for operand in operands if operand is not None and constant(operand) is None)
    return wanted, chosen


def _passed_on(value: onnx_ir.Value, able: set[onnx_ir.Value]) -> bool:
    """True for a value that a node moves from another that is on a grid."""
    node = value.producer()
    if node is None or not moves_integers(node):
        return False
    source = node.inputs[0]
    return constant(source) is None and (is_view(node) or source in able)


def _is_number(value: onnx_ir.Value | None) -> bool:
    tensor = constant(value)
    return tensor is not None and tensor.dtype == onnx_ir.DataType.FLOAT and tensor.size > 0
