"""Marked chains on folded channels: where they are, and which of them compute the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.dims import shape_of
from netwright.ir.opinfo import int_attr, ints_attr
from netwright.ir.program import array
from netwright.ir.shapes import rank
from netwright.passes.marks import CHAIN
from netwright.passes.merge.ownership import in_one_graph, readers_of
from netwright.passes.rewrite import Miss, site_of
from netwright.passes.simplify.match import only_reader
from netwright.passes.statistics.layers import constant_root


@dataclass(frozen=True, slots=True, eq=False)
class Folded:
    """A marked chain.

    Attributes:
        nodes: in order; each but the last is read by the next alone.
        data: what the first reads besides constants, [..., inputs].
        inputs: size of its last axis.
        weights: float constants.
    """

    nodes: tuple[onnx_ir.Node, ...]
    data: onnx_ir.Value
    inputs: int
    weights: tuple[onnx_ir.Value, ...]

    @property
    def result(self) -> onnx_ir.Value:
        """What the last gives."""
        return self.nodes[-1].outputs[0]

    @property
    def name(self) -> str:
        """Of the weight that was factorized: what all its factors' names begin with; else the first one's."""
        stems = {(weight.name or "").rpartition(".")[0] for weight in self.weights}
        return stems.pop() or f"{self.result.name}.weight" if len(stems) == 1 else f"{self.weights[0].name}.merged"


def folded_at(node: onnx_ir.Node) -> Folded | Miss | None:
    """The marked chain whose last node this is; a Miss where its nodes are no closed chain; None where there is none."""
    mark = node.metadata_props.get(CHAIN)
    if not mark or len(node.outputs) != 1:
        return None
    after = only_reader(node.outputs[0])
    if after is not None and after.metadata_props.get(CHAIN) == mark:
        return None
    nodes, data = [node], _data(node)
    while data is not None and (before := data.producer()) is not None and before.metadata_props.get(CHAIN) == mark:
        if only_reader(data) is None or len(before.outputs) != 1:
            return Miss(f"kept as factors: the value between, %{data.name}, is read outside the chain {mark!r} too", site_of(node))
        nodes.insert(0, before)
        data = _data(before)
    if nodes[0].op_type == "Transpose" and data is not None and rank(data) == 2:
        data = nodes.pop(0).outputs[0]  # of a Gemm that transposes its data
    if data is None:
        return Miss(f"kept as factors: a node of the chain {mark!r} does not read one value and constants", site_of(node))
    dims = shape_of(data)
    if not dims or not isinstance(dims[-1], int):
        return Miss(f"kept as factors: the last axis of %{data.name} has no known size", site_of(node))
    roots = [constant_root(value)[0] for one in nodes for value in one.inputs]
    weights = tuple(dict.fromkeys(root for root in roots if root is not None))
    if not any(one.op_type == "MatMul" for one in nodes) or not weights:
        return None
    return Folded(tuple(nodes), data, dims[-1], weights)


def same_chains(found: Folded) -> tuple[Folded, ...]:
    """This chain and all others that compute the same from the same weights: tied layers stay tied."""
    chains = {found.nodes[-1]: found}
    for reader in readers_of(found.weights[-1]) if in_one_graph(found.weights) else ():
        last = reader
        while last is not None and (after := only_reader(last.outputs[0])) is not None:
            if after.metadata_props.get(CHAIN) != last.metadata_props.get(CHAIN):
                break
            last = after
        other = None if last is None or last in chains else folded_at(last)
        if isinstance(other, Folded) and _steps(other) == _steps(found):
            chains[other.nodes[-1]] = other
    return tuple(chains.values())


def _steps(chain: Folded) -> list[tuple[object, ...]]:
    """What each node does, constants of integers written out."""
    made: list[tuple[object, ...]] = []
    for node in chain.nodes:
        operands = [_operand(value) for value in node.inputs]
        made.append((node.op_type, ints_attr(node, "perm"), int_attr(node, "allowzero", 0), *operands))
    return made


def _operand(value: onnx_ir.Value | None) -> object:
    root, turned = constant_root(value)
    known = array(value)
    return (root, turned) if root is not None else None if known is None else tuple(known.reshape(-1).tolist())


def _data(node: onnx_ir.Node) -> onnx_ir.Value | None:
    variable = [value for value in node.inputs if value is not None and known(value) is None]
    return variable[0] if len(variable) == 1 else None


def known(value: onnx_ir.Value | None) -> np.ndarray | None:
    """A constant's elements, also behind Transpose."""
    root, turned = constant_root(value)
    found = array(value if root is None else root)
    return found.T if found is not None and turned else found
