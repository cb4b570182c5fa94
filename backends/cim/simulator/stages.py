"""A lowered program cut into stages: what runs as one piece of standard ONNX, then netwright's own operators that read it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir

from netwright.backends.cim.ops.schemas import DOMAIN
from netwright.ir.errors import DataError
from netwright.ir.opinfo import subgraphs
from netwright.ir.program import Program

AFTER = -1
"""The turn of a caller who wants a value: after all others."""


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """Standard operators that need no own operator of this stage, and the own operators that may then run.

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


def is_own(node: onnx_ir.Node) -> bool:
    """True of netwright's own operators for chips."""
    return node.domain == DOMAIN


def stages(program: Program, given: Collection[str], wanted: Sequence[str]) -> list[Stage]:
    """The stages that lead from given values to wanted ones, in order. Linear in nodes.

    An operator's stage is the number of own operators on the longest way to it, so that a stage's standard operators run at once.

    Args:
        program: lowered; left as it is.
        given: names of values of the main graph that need not be computed.
        wanted: names of values of the main graph.

    Raises:
        DataError: a wanted value is not there, or an input that is needed is not given.
    """
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
    needed = _needed([outer[name] for name in wanted], frozenset(given), inner)
    reads = {node: tuple(_reads(node, inner)) for node in graph if node in needed and not _is_constant(node)}
    depth: dict[onnx_ir.Node, int] = {}
    for node, values in reads.items():
        depth[node] = max((_behind(value, depth, given) for value in values), default=0)
    by_depth: dict[int, list[onnx_ir.Node]] = {}
    for node, level in depth.items():
        by_depth.setdefault(level, []).append(node)
    readers: dict[onnx_ir.Value, list[int]] = {}
    for node, values in reads.items():
        for value in values:
            readers.setdefault(value, []).append(_turn(node, depth))
    for name in wanted:
        readers.setdefault(outer[name], []).append(AFTER)
    return [_stage(program, by_depth[level], frozenset(given), reads, readers, level) for level in sorted(by_depth)]


def _stage(
    program: Program,
    nodes: Sequence[onnx_ir.Node],
    given: frozenset[str],
    reads: Mapping[onnx_ir.Node, Sequence[onnx_ir.Value]],
    readers: Mapping[onnx_ir.Value, Sequence[int]],
    level: int,
) -> Stage:
    own = tuple(node for node in nodes if is_own(node))
    standard = dict.fromkeys(node for node in nodes if not is_own(node))
    if not standard:
        return Stage(None, (), (), own)
    constants: dict[onnx_ir.Node, None] = {}
    initializers: dict[onnx_ir.Value, None] = {}
    inputs: dict[onnx_ir.Value, None] = {}
    for node in standard:
        for value in reads[node]:
            maker = value.producer()
            if value.name in given:
                inputs[value] = None
            elif maker is not None and _is_constant(maker):
                constants[maker] = None
            elif value.is_initializer():
                initializers[value] = None
            elif maker not in standard:
                inputs[value] = None
    outputs = [value for node in standard for value in node.outputs if any(turn != 2 * level for turn in readers.get(value, ()))]
    graph = program.graph
    view = onnx_ir.GraphView(
        list(inputs),
        outputs,
        nodes=[*constants, *standard],
        initializers=list(initializers),
        opset_imports=graph.opset_imports,
        name=graph.name,
    )
    functions = [function.clone() for function in program.model.functions.values()]
    region = Program(onnx_ir.Model(view.clone(), ir_version=program.model.ir_version, functions=functions))
    return Stage(region, tuple(v.name or "" for v in inputs), tuple(v.name or "" for v in outputs), own)


def _turn(node: onnx_ir.Node, depth: Mapping[onnx_ir.Node, int]) -> int:
    """When a node runs: even numbers are a stage's standard operators, odd ones its own operators."""
    return 2 * depth[node] + (1 if is_own(node) else 0)


def _behind(value: onnx_ir.Value, depth: Mapping[onnx_ir.Node, int], given: Collection[str]) -> int:
    maker = value.producer()
    if maker is None or maker not in depth or value.name in given:
        return 0
    return depth[maker] + (1 if is_own(maker) else 0)


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
