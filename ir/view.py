"""Programs as networkx graphs: for graph algorithms and for drawing at any level of abstraction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import onnx_ir

from netwright.ir.dump import dump_node, type_of
from netwright.ir.opinfo import site, subgraphs
from netwright.ir.origin import SOURCE
from netwright.ir.program import Program

if TYPE_CHECKING:
    import networkx

Level = Literal["node", "module"]


def to_networkx(program: Program, level: Level = "node", *, depth: int | None = None) -> networkx.MultiDiGraph[str]:
    """A directed graph of a program's main graph; what subgraphs read counts as read by the node that holds them.

    Args:
        program: the program.
        level: `node`: one vertex a node (its site), input (`in:name`) and output (`out:name`), with the attributes `kind`, `op`, `module`,
            `source` and `text`. `module`: one vertex a module path, with `kind`, `nodes` (how many) and `ops` (operator → how many).
        depth: for `module`: keep so many parts of the path, so that 1 gives the outermost modules.

    Returns:
        Edges carry `value` (its name) and `type` (such as `f32[N, 384]`). Weights have no vertices.
    """
    graph = _by_node(program)
    return graph if level == "node" else _by_module(graph, depth)


def _by_node(program: Program) -> networkx.MultiDiGraph[str]:
    import networkx

    from netwright.ir.cost.analysis import module_of

    graph: networkx.MultiDiGraph[str] = networkx.MultiDiGraph(name=program.name)
    for value in program.inputs:
        graph.add_node(f"in:{value.name}", kind="input", op="input", module="", source="", text=f"{value.name}: {type_of(value)}")
    for node in program.graph:
        op = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
        source = node.metadata_props.get(SOURCE, "")
        graph.add_node(site(node), kind="node", op=op, module=module_of(node), source=source, text=dump_node(node))
    for node in program.graph:
        for value in _reads(node, program.graph):
            start = _start(value)
            if start:
                graph.add_edge(start, site(node), value=value.name or "", type=type_of(value))
    for value in program.outputs:
        graph.add_node(f"out:{value.name}", kind="output", op="output", module="", source="", text=f"{value.name}: {type_of(value)}")
        start = _start(value)
        if start:
            graph.add_edge(start, f"out:{value.name}", value=value.name or "", type=type_of(value))
    return graph


def _by_module(nodes: networkx.MultiDiGraph[str], depth: int | None) -> networkx.MultiDiGraph[str]:
    import networkx

    graph: networkx.MultiDiGraph[str] = networkx.MultiDiGraph(name=nodes.name)
    place: dict[str, str] = {}
    for name, facts in nodes.nodes(data=True):
        if facts["kind"] != "node":
            place[name] = name
            graph.add_node(name, kind=facts["kind"], nodes=0, ops={})
            continue
        module = ".".join(str(facts["module"]).split(".")[:depth]) or "(none)"
        place[name] = module
        if module not in graph:
            graph.add_node(module, kind="module", nodes=0, ops={})
        entry = graph.nodes[module]
        entry["nodes"] += 1
        entry["ops"][facts["op"]] = entry["ops"].get(facts["op"], 0) + 1
    seen: set[tuple[str, str, str]] = set()
    for start, end, facts in nodes.edges(data=True):
        key = (place[start], place[end], str(facts["value"]))
        if key[0] != key[1] and key not in seen:
            seen.add(key)
            graph.add_edge(key[0], key[1], value=facts["value"], type=facts["type"])
    return graph


def _reads(node: onnx_ir.Node, graph: onnx_ir.Graph) -> list[onnx_ir.Value]:
    """The values of the graph that a node reads, itself or in the graphs that it holds."""
    found = dict.fromkeys(value for value in node.inputs if value is not None)
    for _, inner in subgraphs(node):
        for within in inner:
            found.update(dict.fromkeys(value for value in _reads(within, graph) if _belongs(value, graph)))
    return [value for value in found if _belongs(value, graph)]


def _belongs(value: onnx_ir.Value, graph: onnx_ir.Graph) -> bool:
    producer = value.producer()
    return producer.graph is graph if producer is not None else value.graph is graph


def _start(value: onnx_ir.Value) -> str:
    """The vertex that a value comes from; empty for weights."""
    producer = value.producer()
    if producer is not None:
        return site(producer)
    return f"in:{value.name}" if value.is_graph_input() and not value.is_initializer() else ""
