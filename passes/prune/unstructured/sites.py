"""Which weights can hold zeros: those that layers multiply with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import onnx_ir

from netwright.ir.cost.analysis import module_of
from netwright.ir.opinfo import has_references, int_attr, is_float, is_standard, site
from netwright.ir.program import Program, constant
from netwright.passes.rewrite import Miss
from netwright.passes.statistics import LinearLayer, layer_of

LEAST_ELEMENTS = 256
"""Smaller weights stay whole: their zeros would save nothing that is worth their loss."""

RECURRENT = ("GRU", "LSTM", "RNN")

_INPUT_AXES: Mapping[tuple[str, int], int] = MappingProxyType(
    {("ConvTranspose", 1): 0, ("Gather", 0): 1, **{(name, index): 2 for name in RECURRENT for index in (1, 2)}}
)
"""By operator and number of the input, the axis of the weight along which what a layer sums over lies; of a table, an entry's features."""


@dataclass(frozen=True, slots=True, eq=False)
class SparseSite:
    """A weight whose elements can become zero.

    Attributes:
        value: the initializer.
        layers: its readers, where all of them are linear layers of the main graph that read it the same way; else none.
        in_axis: the axis along which inputs lie; None where readers disagree.
        modules: paths of the modules that its readers came from.
    """

    value: onnx_ir.Value
    layers: tuple[LinearLayer, ...]
    in_axis: int | None
    modules: tuple[str, ...]

    @property
    def name(self) -> str:
        """The weight's name, which is the site's."""
        return self.value.name or ""

    @property
    def names(self) -> tuple[str, ...]:
        """What patterns are held against: the weight's name and its readers' modules."""
        return (self.name, *self.modules)

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's."""
        tensor = constant(self.value)
        return () if tensor is None else tuple(int(size) for size in tensor.shape.numpy())


def find_sparse_sites(program: Program) -> list[SparseSite | Miss]:
    """Every float constant of rank 2 and up in the main graph: a site, or why it is none. Linear in nodes and uses."""
    found: list[SparseSite | Miss] = []
    for value in program.graph.initializers.values():
        tensor = constant(value)
        if tensor is not None and is_float(tensor.dtype) and len(tensor.shape) >= 2 and value.uses():
            found.append(_look(program, value, tensor))
    inside = (value for graph in program.graphs() if graph is not program.graph for value in graph.initializers.values())
    for value in inside:
        tensor = constant(value)
        if tensor is not None and is_float(tensor.dtype) and len(tensor.shape) >= 2 and tensor.size >= LEAST_ELEMENTS:
            found.append(Miss("left whole: it stands inside a branch, a loop or a function; run simplify first", value.name or ""))
    return found


def sites_by_name(program: Program) -> dict[str, SparseSite]:
    """The sites alone, by name of their weight."""
    return {entry.name: entry for entry in find_sparse_sites(program) if isinstance(entry, SparseSite)}


def _look(program: Program, value: onnx_ir.Value, tensor: onnx_ir.TensorProtocol) -> SparseSite | Miss:
    name = value.name or ""
    if tensor.size < LEAST_ELEMENTS:
        return Miss(f"left whole: it has {tensor.size} elements, under {LEAST_ELEMENTS}", name)
    if value.is_graph_output():
        return Miss("left whole: it is an output of the graph", name)
    readers = list(_readers(value, turned=False))
    layers: list[LinearLayer] = []
    axes: set[int] = set()
    for node, index, turned in readers:
        layer = layer_of(node)
        if layer is not None and layer.weight is value:
            layers.append(layer)
            axes.add(layer.in_axis)
            continue
        axis = _INPUT_AXES.get((node.op_type, index)) if not node.domain and not turned else None
        if node.op_type == "Gather" and (len(tensor.shape) != 2 or int_attr(node, "axis", 0) % len(tensor.shape) != 0):
            axis = None
        if node.op_type in RECURRENT and index > 2 and not node.domain:
            return Miss(f"left whole: {node.op_type} %{site(node)} reads it as a bias or a state", name)
        if axis is None:
            return Miss(f"left whole: {node.op_type} %{site(node)} reads it, which is no layer with weights", name)
        axes.add(axis)
    seen = all(layer.node.graph is program.graph for layer in layers)
    alike = seen and len(layers) == len(readers) and len(axes) == 1 and len({layer.groups for layer in layers}) == 1
    modules = tuple(dict.fromkeys(path for node, _, _ in readers if (path := module_of(node))))
    return SparseSite(value, tuple(layers) if alike else (), axes.pop() if len(axes) == 1 else None, modules)


def _readers(value: onnx_ir.Value, *, turned: bool) -> list[tuple[onnx_ir.Node, int, bool]]:
    """The nodes that read a weight in the end, behind Transposes and Identities; whether a Transpose is among those."""
    found: list[tuple[onnx_ir.Node, int, bool]] = []
    for use in value.uses():
        node = use.node
        if is_standard(node, "Transpose", "Identity") and not has_references(node):
            found.extend(_readers(node.outputs[0], turned=turned or node.op_type == "Transpose"))
        else:
            found.append((node, use.idx, turned))
    return found
