"""Splits without sequences.

torch's unoptimized export writes `split`, `chunk` and `unbind` as SplitToSequence and SequenceAt, which shape rules, passes and most
backends do not follow. Where the pieces are known, Split or Gather says the same on tensors.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir

from netwright.frontends.torch.names import free_name, new_constant


def split_into_tensors(graph: onnx_ir.Graph) -> None:
    """Replace SplitToSequence and the SequenceAt nodes that read it, where sizes and positions are constant. In place.

    Args:
        graph: a fresh export, with torch's shapes still on its values.
    """
    for node in list(graph):
        if node.op_type == "SplitToSequence":
            _replace(graph, node)


def _replace(graph: onnx_ir.Graph, node: onnx_ir.Node) -> None:
    source, sequence = node.inputs[0], node.outputs[0]
    takes = [use.node for use in sequence.uses()]
    if source is None or sequence.is_graph_output() or any(take.op_type != "SequenceAt" for take in takes):
        return
    positions = [_integers(take.inputs[1]) for take in takes]
    axis = node.attributes.get_int("axis", 0)
    if not takes or any(position is None for position in positions):
        return
    places = [position[0] for position in positions if position is not None]
    if len(node.inputs) < 2 and not node.attributes.get_int("keepdims", 1):
        _gather(graph, source, takes, places, axis)
    else:
        sizes = _sizes(node, source, axis)
        if sizes is None:
            return
        _split(graph, source, takes, places, axis, sizes)
    for done in (*takes, node):
        constants = [value.producer() for value in done.inputs[1:] if value is not None]
        graph.remove(done, safe=True)
        for constant in constants:
            if constant is not None and constant.graph is graph and not constant.outputs[0].uses():
                graph.remove(constant, safe=True)


def _sizes(node: onnx_ir.Node, source: onnx_ir.Value, axis: int) -> list[int] | None:
    """Sizes of the pieces, None where not known. A scalar gives the size of all but the last piece."""
    given = node.inputs[1] if len(node.inputs) > 1 else None
    pieces = [1] if given is None else _integers(given)
    if pieces is None:
        return None
    tensor = onnx_ir.convenience.get_const_tensor(given) if given is not None else None
    if tensor is not None and len(tensor.shape) == 1:
        return pieces
    total = source.shape[axis] if source.shape is not None else None
    if not isinstance(total, int):
        return None
    size = pieces[0]
    return [min(size, total - start) for start in range(0, total, size)]


def _split(
    graph: onnx_ir.Graph, source: onnx_ir.Value, takes: Sequence[onnx_ir.Node], places: Sequence[int], axis: int, sizes: Sequence[int]
) -> None:
    first = takes[0]
    values = [onnx_ir.Value(type=source.type) for _ in sizes]
    splits = new_constant(graph, f"{first.outputs[0].name}_sizes", list(sizes))
    node = onnx_ir.node("Split", [source, splits], {"axis": axis}, outputs=values, name=first.name)
    node.metadata_props.update(first.metadata_props)
    graph.insert_before(first, node)
    for take, place in zip(takes, places, strict=True):
        _take_over(take.outputs[0], values[place])
    for value in values:
        if not value.name:
            value.name = free_name(graph, f"{first.outputs[0].name}_unused")


def _gather(graph: onnx_ir.Graph, source: onnx_ir.Value, takes: Sequence[onnx_ir.Node], places: Sequence[int], axis: int) -> None:
    for take, place in zip(takes, places, strict=True):
        index = new_constant(graph, f"{take.outputs[0].name}_index", place)
        node = onnx_ir.node("Gather", [source, index], {"axis": axis}, outputs=[onnx_ir.Value(type=source.type)], name=take.name)
        node.metadata_props.update(take.metadata_props)
        graph.insert_before(take, node)
        _take_over(take.outputs[0], node.outputs[0])


def _take_over(old: onnx_ir.Value, new: onnx_ir.Value) -> None:
    """`new` in place of `old`, under its name; a second reader of the same piece finds the name taken and reads the first."""
    if not new.name:
        new.name, new.shape = old.name, old.shape
    old.replace_all_uses_with(new, replace_graph_outputs=True)


def _integers(value: onnx_ir.Value | None) -> list[int] | None:
    tensor = onnx_ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else [int(element) for element in tensor.numpy().reshape(-1)]
