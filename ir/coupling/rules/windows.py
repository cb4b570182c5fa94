"""Operators over spatial windows: batch and channels stay, space is not tracked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir

from netwright.ir.coupling.axes import SPATIAL, Axis, Tracked
from netwright.ir.coupling.rules.table import needed, rule, where
from netwright.ir.coupling.walk import dims_of

if TYPE_CHECKING:
    from netwright.ir.coupling.walk import Walk


@rule(
    *["AveragePool", "MaxPool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "GridSample", "RoiAlign", "MaxRoiPool"],
)
def pool(walk: Walk, node: onnx_ir.Node) -> None:
    """Each channel on its own."""
    x = needed(node)
    axes = walk.axes(x, node)
    for output in node.outputs:
        walk.set(output, [*axes[:2], *(SPATIAL for _ in dims_of(output)[2:])])


@rule("Resize", "Upsample", "CenterCropPad")
def resize(walk: Walk, node: onnx_ir.Node) -> None:
    """Axes that keep their size stay."""
    x = needed(node)
    before, after = dims_of(x), dims_of(node.outputs[0])
    found: list[Axis] = []
    for axis, old, new in zip(walk.axes(x, node), before, after, strict=True):
        if isinstance(axis, Tracked) and old != new:
            walk.freeze(axis, f"{where(node)} changes its size")
        found.append(axis if isinstance(axis, Tracked) and old == new else SPATIAL)
    walk.set(node.outputs[0], found)
