"""Operators that move, join, cut and repeat: labels go where elements go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir

from netwright.ir.coupling.axes import ONE, Axis, Fixed, Tracked, around
from netwright.ir.coupling.rules.table import NoRule, given, inputs_of, integers, needed, resting, rule, where
from netwright.ir.coupling.walk import dims_of
from netwright.ir.opinfo import int_attr, ints_attr, is_float
from netwright.ir.program import array
from netwright.ir.shape_context import contents

if TYPE_CHECKING:
    from netwright.ir.coupling.walk import Walk


@rule("Transpose")
def transpose(walk: Walk, node: onnx_ir.Node) -> None:
    """Axes in another order."""
    axes = (inputs_of(walk, node)[0]) or ()
    order = ints_attr(node, "perm") or list(reversed(range(len(axes))))
    walk.set(node.outputs[0], [axes[index] for index in order])


@rule("Concat")
def concat(walk: Walk, node: onnx_ir.Node) -> None:
    """Labels one after the other; where a part is fixed, only its own indices are."""
    values = [value for value in node.inputs if value is not None]
    parts = [walk.axes(value, node) for value in values]
    at = int_attr(node, "axis", 0) % max(len(parts[0]), 1)
    rest = [None if index == at else walk.join(part[index] for part in parts) for index in range(len(parts[0]))]
    whole = _joined(walk, node, [part[at] for part in parts], [dims_of(value)[at] for value in values])
    found = [whole if axis is None else axis for axis in rest]
    walk.set(node.outputs[0], found)


def _joined(walk: Walk, node: onnx_ir.Node, axes: list[Axis], sizes: list[object]) -> Axis:
    if not any(isinstance(axis, Tracked) for axis in axes):
        fixed = next((axis for axis in axes if axis is not ONE), None)
        if fixed is not None or not is_float(node.outputs[0].dtype) or any(size != 1 for size in sizes):
            return fixed or Fixed(f"{where(node)} joins single places")
        stacked = Tracked(walk.units.fresh(len(sizes)), weak=True)
        walk.mark(stacked, "stacked")
        return stacked
    labels: list[np.ndarray] = []
    for axis, size in zip(axes, sizes, strict=True):
        if isinstance(axis, Tracked) and axis.plain:
            labels.append(axis.labels)
        elif isinstance(axis, Fixed) and isinstance(size, int):
            mine = walk.units.fresh(size)
            walk.units.freeze(mine, axis.why)
            labels.append(mine)
        else:
            reason = f"{where(node)} joins axes of unknown size"
            walk.freeze(axes, reason)
            return Fixed(reason)
    return Tracked(np.concatenate(labels))


@rule("Split")
def split(walk: Walk, node: onnx_ir.Node) -> None:
    """Each part has its part of the labels."""
    x = needed(node)
    axes = list(walk.axes(x, node))
    at = int_attr(node, "axis", 0) % len(axes)
    axis, sizes = axes[at], [dims_of(value)[at] for value in node.outputs]
    integers = [size for size in sizes if isinstance(size, int)]
    known = isinstance(axis, Tracked) and axis.plain and len(integers) == len(sizes) and sum(integers) == len(axis.labels)
    if isinstance(axis, Tracked) and (not known or all(size == 1 for size in sizes)):
        walk.pick(axis, f"{where(node)} cuts it into single places" if known else f"{where(node)} cuts it at unknown places")
        axis = Fixed(f"{where(node)} cuts it")
    ends = np.cumsum([0, *integers])
    for number, value in enumerate(node.outputs):
        part: Axis = axis if isinstance(axis, Fixed) else Tracked(axis.labels[ends[number] : ends[number + 1]])
        walk.set(value, [*axes[:at], part, *axes[at + 1 :]])


@rule("Slice")
def slice_(walk: Walk, node: onnx_ir.Node) -> None:
    """A range of the labels, at constant places."""
    x = needed(node)
    axes = list(walk.axes(x, node))
    ranges = slice_ranges(node, len(axes))
    for index, axis in enumerate(axes):
        if ranges is not None and index not in ranges:
            continue
        if not isinstance(axis, Tracked):
            axes[index] = resting(dims_of(node.outputs[0])[index]) if axis is ONE else axis
            continue
        found = ranges[index] if ranges is not None else None
        if found is None or not axis.plain:
            walk.freeze(axis, f"{where(node)} cuts it at computed places")
            axes[index] = Fixed(f"{where(node)} cuts it at computed places")
            continue
        labels = axis.labels[found]
        walk.taken[node, index] = np.arange(len(axis.labels))[found]
        if len(labels) == 1 and len(axis.labels) > 1:
            walk.pick(axis, f"{where(node)} picks one place of it")
        axes[index] = Tracked(labels)
    walk.set(node.outputs[0], axes)


def slice_ranges(node: onnx_ir.Node, rank: int) -> dict[int, slice | None] | None:
    """What a Slice takes along each axis that it cuts: None where the places are computed, and where even the axes are."""
    starts, ends = contents(node.inputs[1]), contents(node.inputs[2])
    axes_value, steps_value = given(node, 3), given(node, 4)
    listed = integers(axes_value) if axes_value is not None else list(range(len(starts or ends or ())))
    if listed is None:
        return None
    axes = [axis % rank for axis in listed]
    steps = contents(steps_value) if steps_value is not None else None
    found: dict[int, slice | None] = {}
    for number, axis in enumerate(axes):
        start = starts[number] if starts is not None else None
        end = ends[number] if ends is not None else None
        step = 1 if steps_value is None else steps[number] if steps is not None else None
        if isinstance(start, int) and isinstance(end, int) and isinstance(step, int):
            found[axis] = python_slice(start, end, step)
        else:
            found[axis] = None
    return found


def python_slice(start: int, end: int, step: int) -> slice:
    """ONNX's start, end and step as Python's: an end before the beginning is none."""
    return slice(start, None if step < 0 and end < -(2**31) else end, step)


@rule("Gather")
def gather(walk: Walk, node: onnx_ir.Node) -> None:
    """Rows by number: constant numbers move labels, computed ones fix the axis."""
    data, numbers = needed(node), needed(node, 1)
    axes, index_axes = walk.axes(data, node), walk.axes(numbers, node)
    at = int_attr(node, "axis", 0) % len(axes)
    listed, axis = array(numbers), axes[at]
    if listed is None and (known := integers(numbers)) is not None:
        listed = np.asarray(known if len(index_axes) else known[0])
    middle: list[Axis] = [found if isinstance(found, Fixed) else Fixed(f"{where(node)} looks up by it") for found in index_axes]
    if isinstance(axis, Tracked):
        if listed is None or not axis.plain:
            walk.freeze(axis, f"{where(node)} looks rows up by computed numbers")
        elif listed.ndim == 1 and listed.size > 1:
            middle = [Tracked(axis.labels[listed])]
        else:
            walk.pick(axis, f"{where(node)} picks places of it by number")
    rest = [*axes[:at], *axes[at + 1 :]]
    for index, found in enumerate(axes):
        if index != at and isinstance(found, Tracked) and walk.is_weight(data):
            walk.use(data, index, "out", node)
            walk.make(found, node)
            walk.mark(found, "looked up")
    walk.set(node.outputs[0], [*rest[:at], *middle, *rest[at:]])


@rule("GatherND")
def gather_nd(walk: Walk, node: onnx_ir.Node) -> None:
    """Places by several numbers each: the axes that they go through are fixed, those behind stay."""
    data, numbers = node.inputs[0], node.inputs[1]
    if data is None or numbers is None or int_attr(node, "batch_dims", 0) or not isinstance(dims_of(numbers)[-1], int):
        raise NoRule("it looks places up in a batch")
    axes, index_axes = walk.axes(data, node), walk.axes(numbers, node)
    depth = dims_of(numbers)[-1]
    through = depth if isinstance(depth, int) else len(axes)
    walk.freeze(axes[:through], f"{where(node)} looks places up by number")
    for index in range(through, len(axes)):
        walk.use(data, index, "out", node)
    front: list[Axis] = [found if isinstance(found, Fixed) else Fixed(f"{where(node)} looks up by it") for found in index_axes[:-1]]
    walk.set(node.outputs[0], [*front, *axes[through:]])


@rule("Pad")
def pad(walk: Walk, node: onnx_ir.Node) -> None:
    """Axes without padding stay; others are fixed."""
    x = needed(node)
    axes = list(walk.axes(x, node))
    before, after = dims_of(x), dims_of(node.outputs[0])
    amounts, listed = contents(node.inputs[1]), integers(given(node, 3)) if given(node, 3) is not None else None
    padded = list(range(len(axes))) if listed is None else [axis % len(axes) for axis in listed]
    known = amounts is not None and (given(node, 3) is None or listed is not None) and len(amounts) == 2 * len(padded)
    for number, place in enumerate(padded):
        none = known and amounts is not None and amounts[number] == 0 and amounts[number + len(padded)] == 0
        if isinstance(axes[place], Tracked) and not none and not (not known and before[place] == after[place]):
            walk.freeze(axes[place], f"{where(node)} pads it")
            axes[place] = Fixed(f"{where(node)} pads it")
        elif axes[place] is ONE and after[place] != 1:
            axes[place] = Fixed(f"{where(node)} pads it")
    walk.set(node.outputs[0], axes)


@rule("Expand")
def expand(walk: Walk, node: onnx_ir.Node) -> None:
    """Axes of size 1 are repeated: as often as need be, so the copies have labels of their own."""
    x = needed(node)
    axes, dims = walk.axes(x, node), dims_of(node.outputs[0])
    before = dims_of(x)
    found: list[Axis] = []
    for index, dim in enumerate(dims):
        place = index - (len(dims) - len(axes))
        if place >= 0 and axes[place] is not ONE and (before[place] == dim or not isinstance(before[place], int)):
            found.append(axes[place])
        elif place >= 0 and axes[place] is not ONE:
            walk.freeze(axes[place], f"{where(node)} may repeat it")
            found.append(Fixed(f"{where(node)} may repeat it"))
        else:
            found.append(repeated(walk, dim, where(node)))
    walk.set(node.outputs[0], found)


def repeated(walk: Walk, dim: object, place: str) -> Axis:
    """An axis of equal slices: any number of them can go, where their number is known."""
    if dim == 1:
        return ONE
    return Tracked(walk.units.fresh(dim), weak=True) if isinstance(dim, int) else Fixed(f"{place} repeats along it as often as is computed")


@rule("Tile")
def tile(walk: Walk, node: onnx_ir.Node) -> None:
    """The whole axis again and again."""
    x = needed(node)
    axes, times = walk.axes(x, node), contents(node.inputs[1])
    found: list[Axis] = []
    for index, axis in enumerate(axes):
        count = times[index] if times is not None else None
        if count == 1:
            found.append(axis)
        elif axis is ONE:
            found.append(repeated(walk, dims_of(node.outputs[0])[index], where(node)))
        elif isinstance(axis, Tracked) and count is not None and (isinstance(count, int) or count.value is not None):
            found.append(around(axis.labels, count, 1) if axis.plain else Fixed(f"{where(node)} repeats it"))
            if not axis.plain:
                walk.freeze(axis, f"{where(node)} repeats it")
        else:
            walk.freeze(axis, f"{where(node)} repeats it as often as is computed")
            found.append(Fixed(f"{where(node)} repeats it"))
    walk.set(node.outputs[0], found)


@rule("ConstantOfShape", "RandomNormal", "RandomUniform", "Range", "EyeLike")
def made_up(walk: Walk, node: onnx_ir.Node) -> None:
    """The same number everywhere: any slice can go."""
    value = node.outputs[0]
    free = node.op_type == "ConstantOfShape" and is_float(value.dtype)
    walk.set(value, [repeated(walk, dim, where(node)) if free else resting(dim) for dim in dims_of(value)])


@rule("Shape", "Size", "NonZero", "OneHot")
def about(walk: Walk, node: onnx_ir.Node) -> None:
    """What comes out says something of the input, and follows it. Numbers of places do not follow, and so fix their axes."""
    if node.op_type in ("NonZero", "OneHot"):
        raise NoRule("it deals in places")
    for value in node.outputs:
        walk.set(value, [resting(dim) for dim in dims_of(value)])


@rule("DepthToSpace", "SpaceToDepth")
def depth_to_space(walk: Walk, node: onnx_ir.Node) -> None:
    """Channels become pixels: DCR has the pixels outside, CRD inside, of the channels that are left."""
    x = needed(node)
    axes, block = list(walk.axes(x, node)), int_attr(node, "blocksize", 1) ** 2
    channels = axes[1]
    if isinstance(channels, Tracked) and channels.plain:
        if node.op_type == "SpaceToDepth":
            axes[1] = around(channels.labels, block, 1)
        else:
            text = node.attributes["mode"].as_string() if "mode" in node.attributes else "DCR"
            table = channels.labels.reshape(block, -1) if text == "DCR" else channels.labels.reshape(-1, block).T
            walk.units.tie(table, table[:1])
            axes[1] = Tracked(table[0])
    else:
        walk.freeze(channels, f"{where(node)} mixes it with space")
        axes[1] = Fixed(f"{where(node)} mixes it with space")
    walk.set(node.outputs[0], [*axes[:2], *(resting(dim) for dim in dims_of(node.outputs[0])[2:])])
