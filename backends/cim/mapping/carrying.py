"""How operators carry an axis: rules of `tracks.FOLLOW`.

A rule takes the node and, for each input, the axis followed (None where the input does not have it: it must then broadcast), and gives
that axis of each output; None where the operator mixes places.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TypeAlias

import onnx_ir

from netwright.ir.opinfo import int_attr, ints_attr, str_attr
from netwright.ir.program import array
from netwright.ir.shapes import static_shape

Axes: TypeAlias = tuple[int | None, ...]
Rule: TypeAlias = Callable[[onnx_ir.Node, Axes], Axes | None]


def _shape(value: onnx_ir.Value | None) -> tuple[int, ...]:
    return static_shape(value) or ()


def _agree(found: list[int]) -> int | None:
    return found[0] if found and all(one == found[0] for one in found) else None


def elementwise(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """Axes are aligned at the end; operands without the axis broadcast."""
    rank = len(_shape(node.outputs[0]))
    aligned = _agree([rank - len(_shape(value)) + axis for value, axis in zip(node.inputs, axes, strict=True) if axis is not None])
    if aligned is None:
        return None
    for value, axis in zip(node.inputs, axes, strict=True):
        own = aligned - rank + len(_shape(value))
        if value is not None and axis is None and own >= 0 and _shape(value)[own] != 1:
            return None
    return tuple(aligned for _ in node.outputs)


def per_axis(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """QuantizeLinear and DequantizeLinear: scales along another axis only."""
    if axes[0] is None or any(axis is not None for axis in axes[1:]):
        return None
    rank, scales = len(_shape(node.inputs[0])), _shape(node.inputs[1])
    if prod(scales) > 1 and (len(scales) > 1 or int_attr(node, "axis", 1) % rank == axes[0]):
        return None
    return (axes[0],)


def transpose(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """To its new place."""
    rank = len(_shape(node.inputs[0]))
    return (ints_attr(node, "perm", tuple(reversed(range(rank)))).index(axes[0]),) if axes[0] is not None else None


def reshape(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """The axis of equal extent behind equally many places."""
    given, made = _shape(node.inputs[0]), _shape(node.outputs[0])
    if axes[0] is None:
        return None
    before, extent = prod(given[: axes[0]]), given[axes[0]]
    for axis, size in enumerate(made):
        if size == extent and prod(made[:axis]) == before:
            return (axis,)
    return None


def squeeze(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """Before it, axes of size 1 go."""
    if axes[0] is None:
        return None
    rank = len(_shape(node.inputs[0]))
    named = array(node.inputs[1]) if len(node.inputs) > 1 else None
    gone = (
        {int(axis) % rank for axis in named}
        if named is not None
        else {axis for axis, size in enumerate(_shape(node.inputs[0])) if size == 1}
    )
    return None if axes[0] in gone else (axes[0] - sum(axis < axes[0] for axis in gone),)


def unsqueeze(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """Before it, axes of size 1 come."""
    rank = len(_shape(node.outputs[0]))
    named = array(node.inputs[1]) if len(node.inputs) > 1 else None
    if axes[0] is None or named is None:
        return None
    new = {int(axis) % rank for axis in named}
    kept = [axis for axis in range(rank) if axis not in new]
    return (kept[axes[0]],)


def one_axis(default: int) -> Rule:
    """Operators that mix along their attribute `axis` and nowhere else."""

    def rule(node: onnx_ir.Node, axes: Axes) -> Axes | None:
        rank = len(_shape(node.inputs[0]))
        if axes[0] is None or int_attr(node, "axis", default) % rank == axes[0]:
            return None
        return tuple(axes[0] for _ in node.outputs)

    return rule


def normalization(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """All axes before those that are normalized."""
    rank = len(_shape(node.inputs[0]))
    if axes[0] is None or any(axis is not None for axis in axes[1:]) or axes[0] >= int_attr(node, "axis", -1) % rank:
        return None
    return tuple(axes[0] for _ in node.outputs)


def reduce(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """All axes but those that are reduced."""
    if axes[0] is None:
        return None
    rank = len(_shape(node.inputs[0]))
    if node.op_type in ("ArgMax", "ArgMin"):
        named: list[int] = [int_attr(node, "axis", 0)]
    elif len(node.inputs) > 1 and node.inputs[1] is not None:
        given = array(node.inputs[1])
        if given is None:
            return None
        named = [int(axis) for axis in given]
    else:
        named = list(ints_attr(node, "axes"))
    if not named and not int_attr(node, "noop_with_empty_axes", 0):
        named = list(range(rank))
    gone = {axis % rank for axis in named}
    if axes[0] in gone:
        return None
    return (axes[0] if int_attr(node, "keepdims", 1) else axes[0] - sum(axis < axes[0] for axis in gone),)


def matmul(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """Rows of the left, columns of the right operand, and batches of either."""
    a, b, y = _shape(node.inputs[0]), _shape(node.inputs[1]), len(_shape(node.outputs[0]))
    if len(a) < 2 or len(b) < 2 or any(axis is not None for axis in axes[2:]):
        return None
    left, right = axes[0], axes[1]
    places = [y - len(shape) + axis for shape, axis in ((a, left), (b, right)) if axis is not None]
    if left is not None and right is not None:
        place = _agree(places)
        return (place,) if place is not None and place < y - 2 else None
    place = places[0]
    if place == (y - 2 if left is not None else y - 1):
        return (place,)
    other = b if left is not None else a
    own = place - y + len(other)
    return (place,) if place < y - 2 and (own < 0 or other[own] == 1) else None


def gemm(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """Rows of the left operand."""
    bias = _shape(node.inputs[2]) if len(node.inputs) > 2 else ()
    straight = not int_attr(node, "transA", 0) and axes[0] == 0
    return (0,) if straight and all(axis is None for axis in axes[1:]) and (len(bias) < 2 or bias[0] == 1) else None


def spatial(*kept: int) -> Rule:
    """Operators on maps [N, C, …] that keep these axes apart."""

    def rule(node: onnx_ir.Node, axes: Axes) -> Axes | None:
        alone = axes[0] in kept and all(axis is None for axis in axes[1:])
        return tuple(axes[0] for _ in node.outputs) if alone else None

    return rule


def batch_norm(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """All axes but that of channels."""
    return (axes[0],) if axes[0] not in (None, 1) else None


def concat(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """All axes but that of the join."""
    found = _agree([axis for axis in axes if axis is not None])
    along = int_attr(node, "axis", 0) % len(_shape(node.outputs[0]))
    return (found,) if found is not None and found != along and None not in axes else None


def slice(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """Axes that keep their extent."""
    given, made = _shape(node.inputs[0]), _shape(node.outputs[0])
    named = array(node.inputs[3]) if len(node.inputs) > 3 else None
    if axes[0] is None:
        return None
    starts = _shape(node.inputs[1])
    touched = {int(axis) % len(given) for axis in named} if named is not None else set(range(starts[0] if starts else len(made)))
    steps = array(node.inputs[4]) if len(node.inputs) > 4 else None
    forward = len(node.inputs) < 5 or node.inputs[4] is None or (steps is not None and bool((steps > 0).all()))
    kept = axes[0] not in touched or (forward and given[axes[0]] == made[axes[0]] and given[axes[0]] > 1)
    return (axes[0],) if kept else None


def gather(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """Axes of the indices, or axes of the data that are not looked up."""
    rank, indices = len(_shape(node.inputs[0])), len(_shape(node.inputs[1]))
    along = int_attr(node, "axis", 0) % rank
    if axes[0] is None and axes[1] is not None:
        return (along + axes[1],)
    if axes[0] is None or axes[1] is not None or axes[0] == along:
        return None
    return (axes[0] if axes[0] < along else axes[0] - 1 + indices,)


def pad(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """Axes without padding."""
    amounts = array(node.inputs[1])
    if axes[0] is None or amounts is None or (len(node.inputs) > 3 and node.inputs[3] is not None):
        return None
    rank = len(_shape(node.inputs[0]))
    return (axes[0],) if not amounts[axes[0]] and not amounts[axes[0] + rank] else None


def expand(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """Axes that the operand has in full."""
    given, made = _shape(node.inputs[0]), _shape(node.outputs[0])
    if axes[0] is None or axes[1] is not None:
        return None
    place = len(made) - len(given) + axes[0]
    return (place,) if made[place] == given[axes[0]] else None


def tile(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """Axes that are repeated once."""
    return (axes[0],) if axes[0] is not None and _shape(node.inputs[0])[axes[0]] == _shape(node.outputs[0])[axes[0]] else None


def einsum(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """A letter that all operands with the axis share, and the result has."""
    given, arrow, made = str_attr(node, "equation", "").replace(" ", "").partition("->")
    operands = given.split(",")
    letters = {operand[axis] for operand, axis in zip(operands, axes, strict=False) if axis is not None and axis < len(operand)}
    if "." in given or not arrow or len(letters) != 1:
        return None
    (letter,) = letters
    covered = all((letter in operand) == (axis is not None) for operand, axis in zip(operands, axes, strict=False))
    return (made.index(letter),) if covered and letter in made else None


def resize(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """Batch and channels."""
    by_scale = len(node.inputs) > 2 and array(node.inputs[2]) is not None
    return (axes[0],) if by_scale and axes[0] in (0, 1) and not int_attr(node, "antialias", 0) else None


def not_last(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """All axes but the last."""
    alone = axes[0] is not None and axes[0] < len(_shape(node.inputs[0])) - 1 and all(axis is None for axis in axes[1:])
    return (axes[0],) if alone else None


def crossbar(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """Constant weights: all axes but K; computed ones: as MatMul."""
    return not_last(node, axes) if axes[1] is None else matmul(node, axes)
