"""Operators that are told a shape: what is told must follow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir

from netwright.ir.dims import Dim
from netwright.ir.opinfo import site
from netwright.ir.shape_context import contents
from netwright.passes.prune.removal.mend.table import Change, mend


@mend("Reshape", "Expand", "ConstantOfShape")
def told_shape(change: Change, node: onnx_ir.Node) -> None:
    """The shape is an input: constant entries are replaced, computed ones stay unless they would be wrong."""
    number = 0 if node.op_type == "ConstantOfShape" else 1
    told, wanted = node.inputs[number], change.wanted(node.outputs[0])
    if told is None:
        return
    entries = contents(told)
    if entries is not None and len(entries) == len(wanted) and all(_fits(node, a, b) for a, b in zip(entries, wanted, strict=True)):
        return
    if entries is not None and node.op_type == "Expand" and len(entries) < len(wanted):
        wanted = wanted[len(wanted) - len(entries) :]
    fresh = [_entry(node, old, new) for old, new in zip(entries or (None,) * len(wanted), wanted, strict=True)]
    change.editor.set_input(node, number, _shape(change, node, told, fresh))


def _fits(node: onnx_ir.Node, told: Dim, wanted: Dim) -> bool:
    """True where an entry gives the wanted dimension as it is."""
    if not isinstance(wanted, int):
        return True
    return told in (wanted, -1) or (told in (0, 1) and node.op_type != "ConstantOfShape" and (told == 0 or node.op_type == "Expand"))


def _entry(node: onnx_ir.Node, told: Dim | None, wanted: Dim) -> int | None:
    """What the new entry is; None where it stays what is computed."""
    if isinstance(told, int) and (not isinstance(wanted, int) or _fits(node, told, wanted)):
        return told
    return wanted if isinstance(wanted, int) else None


def _shape(change: Change, node: onnx_ir.Node, told: onnx_ir.Value, entries: Sequence[int | None]) -> onnx_ir.Value:
    """A shape of constants and of what is computed."""
    editor = change.editor.at(node)
    unknown = [place for place, entry in enumerate(entries) if entry is None]
    name = f"{site(node)}.shape"
    if not unknown or (len(unknown) == 1 and node.op_type == "Reshape" and -1 not in entries):
        return editor.constant(np.array([-1 if entry is None else entry for entry in entries], dtype=np.int64), name)
    parts: list[onnx_ir.Value] = []
    for place, entry in enumerate(entries):
        index = editor.constant(np.array([place if entry is None else entry], dtype=np.int64), name)
        parts.append(index if entry is not None else editor.op("Gather", [told, index], {"axis": 0}, name=name))
    return editor.op("Concat", parts, {"axis": 0}, name=name)


@mend("Resize")
def resize(change: Change, node: onnx_ir.Node) -> None:
    """Sizes, where they are given for all axes; scales stay."""
    sizes = node.inputs[3] if len(node.inputs) > 3 else None
    if sizes is None or "axes" in node.attributes:
        return
    wanted = change.wanted(node.outputs[0])
    entries = contents(sizes)
    if entries is not None and all(a == b or not isinstance(b, int) for a, b in zip(entries, wanted, strict=True)):
        return
    known = entries or (None,) * len(wanted)
    channels = [new if place == 1 and isinstance(new, int) else old for place, (old, new) in enumerate(zip(known, wanted, strict=True))]
    fresh = [entry if isinstance(entry, int) else None for entry in channels]
    change.editor.set_input(node, 3, _shape(change, node, sizes, fresh))


@mend("Split")
def split(change: Change, node: onnx_ir.Node) -> None:
    """Sizes of the parts."""
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    sizes = [change.wanted(value)[axis] for value in node.outputs]
    integers = [size for size in sizes if isinstance(size, int)]
    told = node.inputs[1] if len(node.inputs) > 1 else None
    if len(integers) < len(sizes) or (told is not None and list(contents(told) or ()) == integers):
        return
    if "split" in node.attributes:
        change.editor.set_attribute(node, "split", integers)
        return
    change.editor.at(node)
    if len(node.inputs) < 2:
        change.editor.resize_inputs(node, 2)
    change.editor.set_attribute(node, "num_outputs", None)
    change.editor.set_input(node, 1, change.editor.constant(np.array(integers, dtype=np.int64), f"{site(node)}.sizes"))
