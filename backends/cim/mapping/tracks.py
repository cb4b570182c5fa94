"""Following an axis through operators that treat each place along it alone: the batch, the rows of a map, what can be cut.

A rule takes the node and, for each input, the axis followed (None where the input does not have it: it must then broadcast), and gives
that axis of each output; None where the operator mixes places. A row of `FOLLOW` and its test add an operator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import TypeAlias

import onnx_ir

from netwright.backends.cim.program.model import Reach
from netwright.ir.opinfo import ELEMENTWISE, int_attr, ints_attr, str_attr
from netwright.ir.program import array
from netwright.ir.shapes import static_shape

Axes: TypeAlias = tuple[int | None, ...]
Rule: TypeAlias = Callable[[onnx_ir.Node, Axes], Axes | None]


def follow(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """The axis followed, in each output; None where the node mixes places along it.

    Args:
        node: any node of static shapes.
        axes: the axis in each input; None where an input does not have it.
    """
    if all(axis is None for axis in axes):
        return tuple(None for _ in node.outputs)
    rule = FOLLOW.get(node.op_type)
    return rule(node, axes) if rule is not None else None


def window(node: onnx_ir.Node, axis: int) -> Reach | None:
    """What a row of a pooling, convolution or SpaceToDepth needs along a spatial axis of its first input; None for other operators."""
    kernel = ints_attr(node, "kernel_shape")
    if node.op_type in _CONVOLUTIONS and not kernel:
        weight = static_shape(node.inputs[1])
        kernel = weight[2:] if weight else ()
    if node.op_type == "SpaceToDepth" and axis >= 2:
        block = int_attr(node, "blocksize", 1)
        return Reach(block, block - 1)
    spatial = axis - 2
    if node.op_type not in _CONVOLUTIONS | _POOLS or not 0 <= spatial < len(kernel):
        return None
    ones = (1,) * len(kernel)
    stride, dilation = (ints_attr(node, name, ones)[spatial] for name in ("strides", "dilations"))
    size = static_shape(node.inputs[0])
    if size is None:
        return None
    extent = (kernel[spatial] - 1) * dilation + 1
    before = ints_attr(node, "pads", (0,) * 2 * len(kernel))[spatial]
    automatic = str_attr(node, "auto_pad", "NOTSET")
    if automatic.startswith("SAME"):
        total = max(0, (-(-size[axis] // stride) - 1) * stride + extent - size[axis])
        before = total // 2 if automatic == "SAME_UPPER" else total - total // 2
    return Reach(stride, extent - 1 - before, -before)


# ---- rules -------------------------------------------------------------------------------------------------------------


def _shape(value: onnx_ir.Value | None) -> tuple[int, ...]:
    return static_shape(value) or ()


def _agree(found: list[int]) -> int | None:
    return found[0] if found and all(one == found[0] for one in found) else None


def _elementwise(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    rank = len(_shape(node.outputs[0]))
    aligned = _agree([rank - len(_shape(value)) + axis for value, axis in zip(node.inputs, axes, strict=True) if axis is not None])
    if aligned is None:
        return None
    for value, axis in zip(node.inputs, axes, strict=True):
        own = aligned - rank + len(_shape(value))
        if value is not None and axis is None and own >= 0 and _shape(value)[own] != 1:
            return None
    return tuple(aligned for _ in node.outputs)


def _per_axis(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """QuantizeLinear and DequantizeLinear: scales along another axis only."""
    if axes[0] is None or any(axis is not None for axis in axes[1:]):
        return None
    rank, scales = len(_shape(node.inputs[0])), _shape(node.inputs[1])
    if prod(scales) > 1 and (len(scales) > 1 or int_attr(node, "axis", 1) % rank == axes[0]):
        return None
    return (axes[0],)


def _transpose(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    rank = len(_shape(node.inputs[0]))
    return (ints_attr(node, "perm", tuple(reversed(range(rank)))).index(axes[0]),) if axes[0] is not None else None


def _reshape(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """The axis of equal extent behind equally many places."""
    given, made = _shape(node.inputs[0]), _shape(node.outputs[0])
    if axes[0] is None:
        return None
    before, extent = prod(given[: axes[0]]), given[axes[0]]
    for axis, size in enumerate(made):
        if size == extent and prod(made[:axis]) == before:
            return (axis,)
    return None


def _squeeze(node: onnx_ir.Node, axes: Axes) -> Axes | None:
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


def _unsqueeze(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    rank = len(_shape(node.outputs[0]))
    named = array(node.inputs[1]) if len(node.inputs) > 1 else None
    if axes[0] is None or named is None:
        return None
    new = {int(axis) % rank for axis in named}
    kept = [axis for axis in range(rank) if axis not in new]
    return (kept[axes[0]],)


def _one_axis(default: int) -> Rule:
    """Operators that mix along their attribute `axis` and nowhere else."""

    def rule(node: onnx_ir.Node, axes: Axes) -> Axes | None:
        rank = len(_shape(node.inputs[0]))
        if axes[0] is None or int_attr(node, "axis", default) % rank == axes[0]:
            return None
        return tuple(axes[0] for _ in node.outputs)

    return rule


def _normalization(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    rank = len(_shape(node.inputs[0]))
    if axes[0] is None or any(axis is not None for axis in axes[1:]) or axes[0] >= int_attr(node, "axis", -1) % rank:
        return None
    return tuple(axes[0] for _ in node.outputs)


def _reduce(node: onnx_ir.Node, axes: Axes) -> Axes | None:
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


def _matmul(node: onnx_ir.Node, axes: Axes) -> Axes | None:
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


def _gemm(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    bias = _shape(node.inputs[2]) if len(node.inputs) > 2 else ()
    straight = not int_attr(node, "transA", 0) and axes[0] == 0
    return (0,) if straight and all(axis is None for axis in axes[1:]) and (len(bias) < 2 or bias[0] == 1) else None


def _spatial(*kept: int) -> Rule:
    """Operators on maps [N, C, …] that keep these axes apart."""

    def rule(node: onnx_ir.Node, axes: Axes) -> Axes | None:
        alone = axes[0] in kept and all(axis is None for axis in axes[1:])
        return tuple(axes[0] for _ in node.outputs) if alone else None

    return rule


def _batch_norm(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    return (axes[0],) if axes[0] not in (None, 1) else None


def _concat(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    found = _agree([axis for axis in axes if axis is not None])
    along = int_attr(node, "axis", 0) % len(_shape(node.outputs[0]))
    return (found,) if found is not None and found != along and None not in axes else None


def _slice(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    given, made = _shape(node.inputs[0]), _shape(node.outputs[0])
    named = array(node.inputs[3]) if len(node.inputs) > 3 else None
    if axes[0] is None:
        return None
    starts = _shape(node.inputs[1])
    touched = {int(axis) % len(given) for axis in named} if named is not None else set(range(starts[0] if starts else len(made)))
    kept = axes[0] not in touched or (given[axes[0]] == made[axes[0]] and given[axes[0]] > 1)
    return (axes[0],) if kept else None


def _gather(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    rank, indices = len(_shape(node.inputs[0])), len(_shape(node.inputs[1]))
    along = int_attr(node, "axis", 0) % rank
    if axes[0] is None and axes[1] is not None:
        return (along + axes[1],)
    if axes[0] is None or axes[1] is not None or axes[0] == along:
        return None
    return (axes[0] if axes[0] < along else axes[0] - 1 + indices,)


def _pad(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    amounts = array(node.inputs[1])
    if axes[0] is None or amounts is None or (len(node.inputs) > 3 and node.inputs[3] is not None):
        return None
    rank = len(_shape(node.inputs[0]))
    return (axes[0],) if not amounts[axes[0]] and not amounts[axes[0] + rank] else None


def _expand(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    given, made = _shape(node.inputs[0]), _shape(node.outputs[0])
    if axes[0] is None or axes[1] is not None:
        return None
    place = len(made) - len(given) + axes[0]
    return (place,) if made[place] == given[axes[0]] else None


def _tile(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    return (axes[0],) if axes[0] is not None and _shape(node.inputs[0])[axes[0]] == _shape(node.outputs[0])[axes[0]] else None


def _einsum(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    given, arrow, made = str_attr(node, "equation", "").replace(" ", "").partition("->")
    operands = given.split(",")
    letters = {operand[axis] for operand, axis in zip(operands, axes, strict=False) if axis is not None and axis < len(operand)}
    if "." in given or not arrow or len(letters) != 1:
        return None
    (letter,) = letters
    covered = all((letter in operand) == (axis is not None) for operand, axis in zip(operands, axes, strict=False))
    return (made.index(letter),) if covered and letter in made else None


def _resize(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    by_scale = len(node.inputs) > 2 and array(node.inputs[2]) is not None
    return (axes[0],) if by_scale and axes[0] in (0, 1) and not int_attr(node, "antialias", 0) else None


def _not_last(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    alone = axes[0] is not None and axes[0] < len(_shape(node.inputs[0])) - 1 and all(axis is None for axis in axes[1:])
    return (axes[0],) if alone else None


_CONVOLUTIONS = frozenset({"Conv", "ConvInteger", "QLinearConv"})
_POOLS = frozenset({"MaxPool", "AveragePool", "LpPool"})
_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")

FOLLOW: Mapping[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(("Cast", "Clip", "Dropout", "Gelu", "Identity", "PRelu"), _elementwise),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _per_axis),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _one_axis(-1)),
    "Split": _one_axis(0),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"), _normalization),
    **dict.fromkeys(("ArgMax", "ArgMin", *(f"Reduce{kind}" for kind in _REDUCTIONS)), _reduce),
    **dict.fromkeys(("MatMul", "MatMulInteger"), _matmul),
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "InstanceNormalization"), _spatial(0, 1)),
    **dict.fromkeys(
        ("Conv", "ConvInteger", "ConvTranspose", "QLinearConv", "GroupNormalization", "LRN", "DepthToSpace", "SpaceToDepth"), _spatial(0)
    ),
    **dict.fromkeys(("CrossbarMatMul", "Requantize"), _not_last),
    "Im2Col": _spatial(0),
    "BatchNormalization": _batch_norm,
    "Concat": _concat,
    "Einsum": _einsum,
    "Expand": _expand,
    "Flatten": _reshape,
    "Gather": _gather,
    "Gemm": _gemm,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""Operator → how it carries an axis."""
