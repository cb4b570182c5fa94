"""Where a unit stands: what it reads, what it gives, and the small program of it alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir

from netwright.ir.program import Program, constant
from netwright.passes.quantize.planning import survey
from netwright.passes.timing import cut

if TYPE_CHECKING:
    import numpy as np

    from netwright.passes.quantize.units import Unit

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
    """

    unit: Unit
    given: tuple[onnx_ir.Value, ...]
    results: tuple[onnx_ir.Value, ...]

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
    for site in unit.sites:
        for value in site.node.inputs:
            if value is not None and value not in weights and not _is_constant(value):
                given[value] = None
        for output in site.node.outputs:
            if output.uses() or output.is_graph_output():
                results[_behind(output)] = None
    if not given or not results:
        return "it reads no activation, or nobody reads it"
    return Place(unit, tuple(given), tuple(results))


def same_unit(program: Program, unit: Unit) -> Unit | None:
    """The unit of these sites in a program made from that of `unit`; None where there is none."""
    names = {site.name for site in unit.sites}
    return next((found for found in survey(program).units if {site.name for site in found.sites} == names), None)


def same_units(program: Program, units: Sequence[Unit]) -> dict[Unit, Unit]:
    """By unit, the unit of the same sites in another program."""
    found = {frozenset(site.name for site in one.sites): one for one in survey(program).units}
    pairs = ((unit, found.get(frozenset(site.name for site in unit.sites))) for unit in units)
    return {unit: other for unit, other in pairs if other is not None}


def _is_constant(value: onnx_ir.Value) -> bool:
    """Constants, and the transpose of one."""
    if constant(value) is not None:
        return True
    node = value.producer()
    return node is not None and node.op_type == "Transpose" and not node.domain and constant(node.inputs[0]) is not None


def _behind(value: onnx_ir.Value) -> onnx_ir.Value:
    """The value behind what a kernel computes as well."""
    while not value.is_graph_output():
        readers = {user for user, _ in value.uses()}
        node = readers.pop() if len(readers) == 1 else None
        if node is None or node.graph is not value.producer().graph or len(node.outputs) != 1:  # type: ignore[union-attr]
            break
        others = [one for one in node.inputs if one is not None and one is not value]
        constants = node.op_type in _WITH_CONSTANT and bool(others) and all(constant(one) is not None for one in others)
        if node.domain or not (constants or (node.op_type in _FUSED and not others)):
            break
        value = node.outputs[0]
    return value
