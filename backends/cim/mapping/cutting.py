"""Which regions can be cut, and along which axes: those that work place by place along them."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir

from netwright.backends.cim.mapping.regions import Piece
from netwright.backends.cim.mapping.tracks import follow
from netwright.backends.cim.program.model import Tensor
from netwright.ir.shapes import static_shape

_FIXED = frozenset({"Expand", "Flatten", "Pad", "Range", "Reshape", "Resize", "Slice", "Split", "Tile", "ConstantOfShape", "Shape", "Size"})
"""Operators whose sizes stand in the graph: a region with one of them is not cut."""
_BLOCKED = frozenset({"MatMul", "Gemm"})
"""Operators that sum floats in an order that a kernel may choose by the number of rows: cut within a product, they might give other bits.

Normalizations and Softmax go row by row: the bits of a row do not depend on how many there are.
"""
CUT = "cut"
"""The symbol of an axis that is cut."""


def cut_axes(piece: Piece, tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Axes of the outputs along which a region can be cut, in the order of preference: within rows, then channels, then rows.

    All outputs must have one shape, and every input that has more than one place along the axis the same extent, counted from the end.
    """
    shapes = {tensors[name].shape for name in piece.outputs}
    if piece.why_host or len(shapes) != 1 or any(node.op_type in _FIXED or node.op_type.startswith("Reduce") for node in piece.nodes):
        return ()
    (shape,) = shapes
    stream = tensors[piece.outputs[0]].stream
    order = [axis for axis in range(len(shape)) if axis != stream] + ([stream] if stream >= 0 else [])
    return tuple(
        axis for axis in order if shape[axis] > 1 and axis != tensors[piece.outputs[0]].batch_axis and _carries(piece, tensors, axis)
    )


def symbolic(piece: Piece, tensors: Mapping[str, Tensor], axis: int) -> None:
    """Make an axis of a region's inputs and outputs a symbol, in its program."""
    shape = tensors[piece.outputs[0]].shape
    graph = piece.program.graph
    for value in (*graph.inputs, *(made for node in graph for made in node.outputs)):
        own = axis - len(shape) + len(value.shape or ())
        boundary = value.is_graph_input() or value.is_graph_output()
        if not boundary:
            value.shape = None
        elif value.shape is not None and own >= 0 and value.shape[own] == shape[axis]:
            value.shape = onnx_ir.Shape([CUT if place == own else size for place, size in enumerate(value.shape)])


def _carries(piece: Piece, tensors: Mapping[str, Tensor], axis: int) -> bool:
    shape = tensors[piece.outputs[0]].shape
    axes: dict[str, int | None] = {}
    for name in piece.inputs:
        own = axis - len(shape) + len(tensors[name].shape)
        extent = tensors[name].shape[own] if own >= 0 else 1
        if extent not in (1, shape[axis]):
            return False
        axes[name] = own if extent > 1 else None
    for node in piece.nodes:
        given = tuple(axes.get(value.name or "") if value is not None else None for value in node.inputs)
        made = follow(node, given)
        followed = [one is not None for one in given]
        if made is None or (node.op_type in _BLOCKED and any(followed) and not all(followed)):
            return False
        axes |= {value.name or "": one for value, one in zip(node.outputs, made, strict=True)}
    return all(axes[name] == axis for name in piece.outputs) and all(static_shape(v) is not None for n in piece.nodes for v in n.outputs)
