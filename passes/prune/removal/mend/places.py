"""Operators that are told places along an axis: places move when others go."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.coupling.axes import Tracked
from netwright.ir.coupling.rules.moving import slice_ranges
from netwright.ir.coupling.rules.table import integers
from netwright.ir.opinfo import int_attr, site
from netwright.ir.program import array
from netwright.ir.shape_context import contents
from netwright.passes.prune.removal.mend.table import Change, RemovalError, mend

_FIRST = -(2**63) + 1
"""An end before every place: what is taken backwards goes to the beginning."""


@mend("Slice")
def slice_(change: Change, node: onnx_ir.Node) -> None:
    """Starts, ends and steps along the axes that changed."""
    x = node.inputs[0]
    if x is None:
        return
    axes = change.before(x, node)
    keeps = {index: keep for index in range(len(axes)) if (keep := change.keep(x, node, index)) is not None}
    ranges = slice_ranges(node, len(axes)) or {}
    told = {axis: number for number, axis in enumerate(ranges)}
    starts, ends, steps = (_told(node, number, len(told)) for number in (1, 2, 4))
    changed = False
    for axis, keep in keeps.items():
        if axis not in told:
            continue
        found = ranges[axis]
        if found is None:
            raise RemovalError(f"Slice at %{site(node)} cuts axis {axis} at places that are computed.", place=site(node))
        number = told[axis]
        wanted = _range(_wanted_places(change, node, x, axis), node)
        now = (starts[number], ends[number], steps[number])
        if np.array_equal(np.arange(int(keep.sum()))[slice(now[0], _end(now[1], now[2]), now[2])], _places(wanted)):
            continue
        starts[number], ends[number], steps[number] = wanted
        changed = True
    if changed:
        _tell(change, node, told, starts, ends, steps)


def _wanted_places(change: Change, node: onnx_ir.Node, x: onnx_ir.Value, axis: int) -> np.ndarray:
    """Where the places that were taken at first, and are left, lie among what is left of the axis."""
    walk = change.state.partition.traced.walk
    first, taken = walk.values[x][axis] if x in walk.values else change.before(x, node)[axis], walk.taken[node, axis]
    if not isinstance(first, Tracked):
        return taken
    keep = ~(change.state.gone | change.gone)[change.state.units(first)]
    return (np.cumsum(keep) - 1)[taken[keep[taken]]]


def _told(node: onnx_ir.Node, number: int, count: int) -> list[int]:
    value = node.inputs[number] if number < len(node.inputs) else None
    return [entry if isinstance(entry, int) else 0 for entry in contents(value) or ()] if value is not None else [1] * count


def _end(end: int, step: int) -> int | None:
    return None if step < 0 and end < -(2**31) else end


def _range(places: np.ndarray, node: onnx_ir.Node) -> tuple[int, int, int]:
    """Start, end and step that take these places."""
    if len(places) == 0:
        raise RemovalError(f"Slice at %{site(node)} would take nothing.", place=site(node))
    step = int(places[1] - places[0]) if len(places) > 1 else 1
    if len(places) > 1 and not np.array_equal(places, places[0] + step * np.arange(len(places))):
        raise RemovalError(f"Slice at %{site(node)} would take places with no common step.", place=site(node))
    last = int(places[-1]) + (1 if step > 0 else -1)
    return int(places[0]), last if last >= 0 else _FIRST, step


def _places(found: tuple[int, int, int]) -> np.ndarray:
    start, end, step = found
    return np.arange(start, max(end, -1), step)


def _tell(change: Change, node: onnx_ir.Node, told: dict[int, int], starts: list[int], ends: list[int], steps: list[int]) -> None:
    editor = change.editor.at(node)
    editor.resize_inputs(node, 5)
    listed = integers(node.inputs[3]) if node.inputs[3] is not None else None
    axes = list(told) if listed is None else listed
    for number, numbers in ((1, starts), (2, ends), (3, axes), (4, steps)):
        editor.set_input(node, number, editor.constant(np.array(numbers, dtype=np.int64), f"{site(node)}.range"))


@mend("Gather")
def gather(change: Change, node: onnx_ir.Node) -> None:
    """Constant numbers of rows that moved."""
    data, numbers = node.inputs[0], node.inputs[1]
    if data is None or numbers is None:
        return
    axis = int_attr(node, "axis", 0)
    keep = change.keep(data, node, axis)
    if keep is None:
        return
    listed = array(numbers)
    listed = np.asarray(integers(numbers)) if listed is None else listed
    fresh = (np.cumsum(keep) - 1)[listed[keep[listed]]]
    editor = change.editor.at(node)
    editor.set_input(node, 1, editor.constant(fresh.astype(np.int64), f"{site(node)}.indices"))


@mend("Concat")
def concat(change: Change, node: onnx_ir.Node) -> None:
    """Slices that were stacked one by one: those of units that are gone are left out."""
    output = node.outputs[0]
    keep = change.keep(output, node, int_attr(node, "axis", 0))
    if keep is None or len(keep) != len(node.inputs) or not all(_is_single(change, node, number) for number in range(len(node.inputs))):
        return
    left = [value for value, stays in zip(node.inputs, keep, strict=True) if stays]
    for number, value in enumerate(left):
        change.editor.set_input(node, number, value)
    change.editor.resize_inputs(node, len(left))


def _is_single(change: Change, node: onnx_ir.Node, number: int) -> bool:
    value = node.inputs[number]
    axes = change.before(value, node) if value is not None else ()
    return bool(axes) and not isinstance(axes[int_attr(node, "axis", 0)], Tracked)
