"""Value maps of folded parameters: how the constant that takes a node's place comes from the constants that went in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir

from netwright.ir.maps import Affine, Cast, Concat, Mapped, Permute, Reshape, Same, Take, ValueMap
from netwright.ir.opinfo import int_attr, is_float
from netwright.ir.program import array
from netwright.ir.shapes import static_shape
from netwright.passes.simplify.facts import integers, perm_of
from netwright.passes.simplify.slices import cuts_of

_SMALL = 4096
"""Constants of more elements than this are not copied into a map."""


def folded_map(node: onnx_ir.Node) -> Mapped | None:
    """How a folded node's result comes from its floating-point inputs; None where no map says it."""
    if (
        len(node.outputs) != 1
        or not node.inputs
        or node.inputs[0] is None
        or not any(is_float(v.dtype) for v in node.inputs if v is not None)
    ):
        return None
    shape, before = static_shape(node.outputs[0]), static_shape(node.inputs[0])
    rule = _MAPS.get(node.op_type)
    if rule is None or shape is None or before is None:
        return None
    return rule(node, shape, before)


Shape = Sequence[int]
_Rule = Callable[[onnx_ir.Node, Shape, Shape], "Mapped | None"]


def _of_first(node: onnx_ir.Node, value_map: ValueMap) -> Mapped:
    first = node.inputs[0]
    return Mapped(value_map, ((first.name or "") if first is not None else "",))


def _permute(node: onnx_ir.Node, shape: Shape, before: Shape) -> Mapped | None:
    perm = perm_of(node)
    return None if perm is None else _of_first(node, Permute(perm))


def _reshape(node: onnx_ir.Node, shape: Shape, before: Shape) -> Mapped | None:
    return _of_first(node, Reshape(tuple(shape), tuple(before)))


def _same(node: onnx_ir.Node, shape: Shape, before: Shape) -> Mapped | None:
    return _of_first(node, Same())


def _cast(node: onnx_ir.Node, shape: Shape, before: Shape) -> Mapped | None:
    source, out = node.inputs[0], node.outputs[0]
    if source is None or source.dtype is None or out.dtype is None:
        return None
    return _of_first(node, Cast(out.dtype.numpy().name, source.dtype.numpy().name))


def _concat(node: onnx_ir.Node, shape: Shape, before: Shape) -> Mapped | None:
    axis = int_attr(node, "axis", 0)
    shapes = [static_shape(value) for value in node.inputs]
    names = tuple(value.name or "" for value in node.inputs if value is not None)
    sizes = tuple(found[axis] for found in shapes if found is not None)
    return Mapped(Concat(axis, sizes), names) if len(sizes) == len(names) else None


def _slice(node: onnx_ir.Node, shape: Shape, before: Shape) -> Mapped | None:
    cuts = cuts_of(node)
    if cuts is None:
        return None
    value_map: ValueMap = Same()
    for axis, cut in cuts.items():
        end = None if cut.step < 0 and cut.end < -before[axis] else cut.end
        value_map = value_map.then(Take(axis, tuple(range(before[axis])[cut.start : end : cut.step]), before[axis]))
    return _of_first(node, value_map)


def _gather(node: onnx_ir.Node, shape: Shape, before: Shape) -> Mapped | None:
    index, axis = integers(node.inputs[1], limit=_SMALL), int_attr(node, "axis", 0) % len(before)
    if index is None or not index:
        return None
    size = before[axis]
    taken = Take(axis, tuple(i % size for i in index), size)
    flat = (*before[:axis], len(index), *before[axis + 1 :])
    return _of_first(node, taken if tuple(shape) == flat else taken.then(Reshape(tuple(shape), flat)))


def _affine(make: Callable[[np.ndarray], Affine | None]) -> _Rule:
    """For a parameter combined with a smaller constant."""

    def rule(node: onnx_ir.Node, shape: Shape, before: Shape) -> Mapped | None:
        if tuple(shape) != tuple(before) or _elements(node.inputs[1]) > _SMALL or _elements(node.inputs[0]) <= _elements(node.inputs[1]):
            return None
        other = array(node.inputs[1], limit=_SMALL)
        value_map = None if other is None else make(other.astype(np.float64))
        return None if value_map is None else _of_first(node, value_map)

    return rule


def _elements(value: onnx_ir.Value | None) -> int:
    return int(np.prod(static_shape(value) or (0,)))


_MAPS: dict[str, _Rule] = {
    "Transpose": _permute,
    "Reshape": _reshape,
    "Flatten": _reshape,
    "Squeeze": _reshape,
    "Unsqueeze": _reshape,
    "Identity": _same,
    "Cast": _cast,
    "Concat": _concat,
    "Slice": _slice,
    "Gather": _gather,
    "Mul": _affine(lambda other: Affine(scale=other)),
    "Div": _affine(lambda other: Affine(scale=1.0 / other) if other.all() else None),
    "Add": _affine(lambda other: Affine(shift=other)),
    "Sub": _affine(lambda other: Affine(shift=-other)),
}
"""Operators whose folding has a value map, by name."""
