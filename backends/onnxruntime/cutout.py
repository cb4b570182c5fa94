"""The part of a program that some values need, as a model of its own; tensors are shared, nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import onnx_ir

from netwright.ir.errors import DataError
from netwright.ir.opinfo import subgraphs
from netwright.ir.program import Program


def cutout(program: Program, given: Collection[str], wanted: Sequence[str]) -> Program:
    """A program that computes `wanted` from `given`.

    Linear in the main graph for the walk; only what is needed is cloned. Unlike the original's, its inputs are those of `given`
    that are needed, inner values among them.

    Args:
        program: left as it is.
        given: names of values of the main graph whose arrays will be fed.
        wanted: names of values of the main graph.

    Raises:
        DataError: a wanted value is not in the main graph, or needs an input that is not given.
    """
    graph = program.graph
    outer = _outer_values(graph)
    for name in wanted:
        if name not in outer:
            raise DataError(
                f"The graph has no value {name!r} that could be handed out.",
                place=name,
                remedy="Name a value of the main graph; those inside subgraphs and functions have no single value.",
            )
    nodes, leaves = _needed([outer[name] for name in wanted], frozenset(given), frozenset(outer.values()))
    initializers = [value for value in leaves if value.is_initializer() and value.name not in given]
    inputs = [value for value in leaves if value.name in given]
    for value in leaves:
        if not value.is_initializer() and value.name not in given:
            raise DataError(f"{wanted[0]!r} needs the input {value.name!r}.", place=f"input {value.name}", remedy="Feed it.")
    view = onnx_ir.GraphView(
        inputs,
        [outer[name] for name in wanted],
        nodes=[node for node in graph if node in nodes],
        initializers=initializers,
        opset_imports=graph.opset_imports,
        name=graph.name,
    )
    functions = [function.clone() for function in program.model.functions.values()]
    return Program(onnx_ir.Model(view.clone(), ir_version=program.model.ir_version, functions=functions))


def _outer_values(graph: onnx_ir.Graph) -> dict[str, onnx_ir.Value]:
    values = {value.name or "": value for value in (*graph.inputs, *graph.initializers.values())}
    values.update((value.name or "", value) for node in graph for value in node.outputs)
    return values


def _needed(
    wanted: Sequence[onnx_ir.Value], given: frozenset[str], outer: frozenset[onnx_ir.Value]
) -> tuple[set[onnx_ir.Node], list[onnx_ir.Value]]:
    """The nodes behind the wanted values, and the inputs, given values and initializers that they start from."""
    nodes: set[onnx_ir.Node] = set()
    leaves: dict[onnx_ir.Value, None] = {}
    pending = list(reversed(wanted))
    while pending:
        value = pending.pop()
        node = value.producer()
        if node is None or value.name in given:
            leaves[value] = None
        elif node not in nodes:
            nodes.add(node)
            pending.extend(_read_by(node, outer))
    return nodes, list(leaves)


def _read_by(node: onnx_ir.Node, outer: frozenset[onnx_ir.Value]) -> Iterator[onnx_ir.Value]:
    """The values of the main graph that a node reads, inside its subgraphs too."""
    yield from (value for value in node.inputs if value is not None)
    for _, inner in subgraphs(node):
        for nested in inner.all_nodes():
            yield from (value for value in nested.inputs if value is not None and value in outer)
        yield from (value for value in inner.outputs if value in outer)
