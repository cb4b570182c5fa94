"""Where a unit stands: what it reads, what it gives, and the small program of it alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir

from netwright.ir.program import Program, constant
from netwright.passes.quantize.sites import Site, find_sites
from netwright.passes.quantize.units import Unit, units_of
from netwright.passes.timing import cut

if TYPE_CHECKING:
    import numpy as np

_FUSED = frozenset({"Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Tanh"})
"""Activations that runtimes compute within the kernel before."""
_WITH_CONSTANT = frozenset({"Add", "Clip", "Mul", "Sub"})
"""What else they do: a bias, a scale, bounds."""


@dataclass(frozen=True, slots=True)
class Place:
    """A unit of the main graph with what its kernel takes along: a bias, an activation.

    Attributes:
        unit: of the program.
        given: activations that it reads.
        results: what it gives.
        nodes: its sites', and those that the kernel takes along.
    """

    unit: Unit
    given: tuple[onnx_ir.Value, ...]
    results: tuple[onnx_ir.Value, ...]
    nodes: tuple[onnx_ir.Node, ...]

    def alone(self, program: Program, arrays: Mapping[str, np.ndarray]) -> Program:
        """A program of this place, its inputs with the shapes of arrays."""
        made = cut(program, self.given, self.results)
        for value in made.graph.inputs:
            array = arrays[value.name or ""]
            value.shape = onnx_ir.Shape(array.shape)
            value.type = onnx_ir.TensorType(onnx_ir.DataType.from_numpy(array.dtype))
        return made


def place_of(unit: Unit, program: Program) -> Place | str:
    """The place of a unit; or why it has none."""
    if any(site.node.graph is not program.graph for site in unit.sites):
        return "it stands inside a subgraph, and cannot be timed by itself"
    weights = set(unit.weights)
    given: dict[onnx_ir.Value, None] = {}
    results: dict[onnx_ir.Value, None] = {}
    nodes = [site.node for site in unit.sites]
    for site in unit.sites:
        for value in site.node.inputs:
            if value is not None and value not in weights and not _is_constant(value):
                given[value] = None
        for output in site.node.outputs:
            if output.uses() or output.is_graph_output():
                behind = _taken_along(output)
                nodes.extend(behind)
                results[behind[-1].outputs[0] if behind else output] = None
    if not given or not results:
        return "it reads no activation, or nobody reads it"
    return Place(unit, tuple(given), tuple(results), tuple(dict.fromkeys(nodes)))


def same_units(program: Program, units: Sequence[Unit]) -> dict[Unit, Unit]:
    """By unit, the unit of the same sites in another program. Linear in nodes.

    Args:
        program: made from that of the units.
        units: of another program.
    """
    every = units_of(site for site in find_sites(program, convolutions=True, grus=True) if isinstance(site, Site))
    found = {frozenset(site.name for site in one.sites): one for one in every}
    pairs = ((unit, found.get(frozenset(site.name for site in unit.sites))) for unit in units)
    return {unit: other for unit, other in pairs if other is not None}


def _is_constant(value: onnx_ir.Value) -> bool:
    """Constants, and the transpose of one."""
    if constant(value) is not None:
        return True
    node = value.producer()
    return node is not None and node.op_type == "Transpose" and not node.domain and constant(node.inputs[0]) is not None


def _taken_along(value: onnx_ir.Value) -> list[onnx_ir.Node]:
    """The nodes behind a value that its kernel computes as well."""
    found: list[onnx_ir.Node] = []
    graph = value.graph
    while not value.is_graph_output():
        readers = {user for user, _ in value.uses()}
        node = readers.pop() if len(readers) == 1 else None
        if node is None or node.domain or node.graph is not graph or len(node.outputs) != 1:
            break
        others = [one for one in node.inputs if one is not None and one is not value]
        constants = node.op_type in _WITH_CONSTANT and bool(others) and all(constant(one) is not None for one in others)
        if not (constants or (node.op_type in _FUSED and not others)):
            break
        found.append(node)
        value = node.outputs[0]
    return found
