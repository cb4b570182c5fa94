"""One region as a small program, and what is known of it: batch, rows, work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir

from netwright.backends.cim.mapping.tracks import follow
from netwright.backends.cim.mapping.work import work_of
from netwright.backends.cim.program.batches import batch_axes_of
from netwright.ir.opinfo import site
from netwright.ir.program import Program, constant
from netwright.ir.shapes import static_shape

if TYPE_CHECKING:
    from netwright.backends.cim.mapping.regions import Piece

BATCH = "batch"
"""The symbol of the axis of samples."""


def batch_axes(program: Program) -> dict[str, int]:
    """By value, the axis of size 1 that is the batch: of every input the one that the model names, or its first; −1 for none.

    It is followed through the graph. Where an operator mixes samples, its results' first axis counts again, if it has size 1: the
    region then runs sample by sample.
    """
    found = {value.name or "": -1 for value in program.graph.initializers.values()}
    told = batch_axes_of(program)
    for place, value in enumerate(program.graph.inputs):
        shape = static_shape(value)
        axis = max(0, (told.inputs[place] if told is not None else None) or 0)
        if not value.is_initializer():
            found[value.name or ""] = axis if shape and axis < len(shape) and shape[axis] == 1 else -1
    for node in program.graph:
        given = tuple(_axis(found, value) for value in node.inputs)
        made = follow(node, given)
        for index, value in enumerate(node.outputs):
            axis = made[index] if made is not None else None
            if made is None and _depends(found, node) and (static_shape(value) or (0,))[0] == 1:
                axis = 0
            found[value.name or ""] = -1 if axis is None else axis
    return found


def piece_of(
    program: Program,
    nodes: list[onnx_ir.Node],
    own: set[onnx_ir.Node],
    readers: Mapping[onnx_ir.Value, set[onnx_ir.Node]],
    axes: Mapping[str, int],
    why_host: str,
) -> Piece:
    """The region of some nodes.

    Args:
        program: the whole.
        nodes: of the region, in graph order, with those that were brought along.
        own: those that only this region has.
        readers: of every value, the nodes that read it, themselves or through nodes that are brought along.
        axes: the batch axis of every value (`batch_axes`).
        why_host: the reason, where the host runs it.
    """
    from netwright.backends.cim.mapping.regions import Piece, reads

    read = dict.fromkeys(value for node in nodes for value in reads(node))
    made = {value for node in nodes for value in node.outputs}
    constants = [value for value in read if value not in made and constant(value) is not None]
    inputs = [value for value in read if value not in made and constant(value) is None]
    outputs = [value for node in nodes if node in own for value in node.outputs if value.is_graph_output() or readers[value] - own]
    batchable = not why_host and all(_keeps_samples(node, axes) for node in nodes) and all(axes[value.name or ""] >= 0 for value in inputs)
    batchable = batchable and all(axes[value.name or ""] >= 0 for value in outputs)
    name = site(nodes[-1])
    small = _program(program, name, nodes, inputs, outputs, constants, axes if batchable else {})

    def at_edge(node: onnx_ir.Node) -> bool:
        return node.inputs[0] in inputs or all(value in outputs for value in node.outputs)

    work = work_of(nodes, at_edge) if not why_host else work_of((), at_edge)
    given, gives = (tuple(value.name or "" for value in values) for values in (inputs, outputs))
    return Piece(name, tuple(nodes), given, gives, small, batchable, work, why_host)


def _axis(axes: Mapping[str, int], value: onnx_ir.Value | None) -> int | None:
    axis = axes.get(value.name or "", -1) if value is not None else -1
    return axis if axis >= 0 else None


def _depends(axes: Mapping[str, int], node: onnx_ir.Node) -> bool:
    return any(_axis(axes, value) is not None for value in node.inputs)


def _keeps_samples(node: onnx_ir.Node, axes: Mapping[str, int]) -> bool:
    return follow(node, tuple(_axis(axes, value) for value in node.inputs)) is not None


def _program(
    program: Program,
    name: str,
    nodes: Iterable[onnx_ir.Node],
    inputs: list[onnx_ir.Value],
    outputs: list[onnx_ir.Value],
    constants: list[onnx_ir.Value],
    axes: Mapping[str, int],
) -> Program:
    held = [value for value in constants if value.is_initializer()]
    imports = dict(program.model.opset_imports)
    view = onnx_ir.GraphView(inputs, outputs, nodes=list(nodes), initializers=held, opset_imports=imports, name=name)
    graph = view.clone()
    if axes:
        for node in list(graph):
            _free_batch(graph, node, axes)
        for value in (*(one for node in graph for one in node.outputs), *graph.inputs):
            shape, axis = static_shape(value), axes.get(value.name or "", -1)
            if shape is not None and axis >= 0:
                value.shape = onnx_ir.Shape([BATCH if place == axis else size for place, size in enumerate(shape)])
    model = onnx_ir.Model(graph, ir_version=program.model.ir_version, functions=list(program.model.functions.values()))
    return Program(model)


def _free_batch(graph: onnx_ir.Graph, node: onnx_ir.Node, axes: Mapping[str, int]) -> None:
    """A Reshape's target gets −1 for the number of samples."""
    axis = axes.get(node.outputs[0].name or "", -1)
    shape = static_shape(node.outputs[0])
    if node.op_type != "Reshape" or axis < 0 or shape is None:
        return
    target = np.array([-1 if place == axis else size for place, size in enumerate(shape)], dtype=np.int64)
    name = f"{node.outputs[0].name}/shape"
    tensor = onnx_ir.Tensor(target, name=name)
    value = onnx_ir.Value(name=name, shape=onnx_ir.Shape([len(shape)]), type=onnx_ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    node.replace_input_with(1, value)
