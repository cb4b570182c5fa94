"""Where QuantizeLinear meets DequantizeLinear or a bound."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor, can_replace
from netwright.ir.program import Program
from netwright.passes.quantize.choice import ActivationGrid
from netwright.passes.quantize.folding.facts import OTHERS, dequantized, is_kernel, is_output_once, producer, sole_reader
from netwright.passes.quantize.static.operators import bounds, is_bounding
from netwright.passes.quantize.static.pairs import grid_at, grid_constants
from netwright.passes.rewrite import Rewrite
from netwright.passes.rules import rule

_HALF = 0.5
_BYTE = 8


@rule("QuantizeLinear")
def cancel(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Integers that were taken to floats and put back on the same grid."""
    found = dequantized(node.inputs[0])
    if found is None or found[1] != grid_at(node):
        return None
    integers = found[0].inputs[0]
    if integers is None or not can_replace(node.outputs[0], integers):
        return None
    return Rewrite.replace(node.outputs[0], by=integers, why="the integers that there were")


@rule("QuantizeLinear")
def merge_requantization(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A value put on one grid only to be put on another within it: on the second at once."""
    second, found = grid_at(node), dequantized(node.inputs[0])
    before = producer(found[0].inputs[0], "QuantizeLinear") if found is not None else None
    first = grid_at(before) if before is not None else None
    if found is None or before is None or first is None or second is None or not is_output_once(node.outputs[0]):
        return None
    dequantize, between = found
    if sole_reader(before.outputs[0]) is not dequantize or sole_reader(dequantize.outputs[0]) is not node:
        return None
    if between.zero_point != first.zero_point or (between.bits, between.signed) != (first.bits, first.signed):
        return None
    if not _spans(between, second):
        return None
    joined = ActivationGrid(second.scale * first.scale / between.scale, second.zero_point, second.bits, second.signed)

    def make(editor: Editor) -> onnx_ir.Value:
        scale, zero = grid_constants(editor, joined, node.outputs[0].name or "integers")
        return editor.op("QuantizeLinear", [before.inputs[0], scale, zero], like=node.outputs[0])

    return Rewrite.build(node, make, why="two quantizations are one")


@rule("Concat")
def share_grid(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Values that are only joined go straight onto the grid of the whole, so that joining moves bytes."""
    reader = sole_reader(node.outputs[0])
    grid = grid_at(reader) if reader is not None and reader.op_type == "QuantizeLinear" else None
    if grid is None:
        return None
    for index, operand in enumerate(node.inputs):
        found = dequantized(operand)
        if found is None or found[1] == grid or operand is None or sole_reader(operand) is not node:
            continue
        before = producer(found[0].inputs[0], "QuantizeLinear")
        if before is None or sole_reader(before.outputs[0]) is not found[0] or grid_at(before) != found[1] or not _spans(found[1], grid):
            continue
        return Rewrite.edit(
            node.outputs[0].name or "",
            f"%{operand.name} goes on the grid of the whole",
            lambda editor, before=before, index=index: _regrid(editor, node, index, before, grid),
            anchor=node,
        )
    return None


def _regrid(editor: Editor, node: onnx_ir.Node, index: int, before: onnx_ir.Node, grid: ActivationGrid) -> None:
    source = before.inputs[0]
    assert source is not None
    name = f"{source.name}.joined"
    editor.at(before)
    scale, zero = grid_constants(editor, grid, name)
    integers = editor.op("QuantizeLinear", [source, scale, zero], name=f"{name}.integers")
    editor.at(node).set_input(node, index, editor.op("DequantizeLinear", [integers, scale, zero], name=f"{name}.dequantized"))


@rule("QuantizeLinear")
def drop_bound(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A Relu or Clip before integers that cannot leave its range."""
    source, grid = node.inputs[0], grid_at(node)
    bound = source.producer() if source is not None else None
    if bound is None or source is None or grid is None or not is_bounding(bound) or sole_reader(source) is not node:
        return None
    limits = bounds(bound)
    if limits is None or not is_output_once(node.outputs[0]):
        return None
    low = np.rint(limits[0] / grid.scale) + grid.zero_point <= grid.low
    high = np.rint(min(limits[1] / grid.scale, 1e9)) + grid.zero_point >= grid.high
    if not (low and high):
        return None
    inputs = [bound.inputs[0], *node.inputs[1:]]
    return Rewrite.build(
        node,
        lambda editor: editor.op("QuantizeLinear", inputs, dict(node.attributes), like=node.outputs[0]),
        why=f"{bound.op_type} by the grid's ends",
    )


@rule("QuantizeLinear")
def bound_integers(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A Relu or Clip behind an integer kernel, within its grid (as learned scales leave it): integers are cut off instead.

    Rounding keeps order, so they are the same; a kernel and its quantizer with a bound between them would run in float.
    """
    source, grid = node.inputs[0], grid_at(node)
    bound = source.producer() if source is not None else None
    before = bound.inputs[0] if bound is not None else None
    if source is None or grid is None or bound is None or before is None or not is_bounding(bound) or sole_reader(source) is not node:
        return None
    kernel, limits = before.producer(), bounds(bound)
    if kernel is None or limits is None or grid.bits != _BYTE or not is_output_once(node.outputs[0]) or sole_reader(before) is not bound:
        return None
    if kernel.op_type in OTHERS or not is_kernel(kernel):
        return None
    ends = [np.rint(np.float32(limit) / np.float32(grid.scale)) + grid.zero_point for limit in limits]

    def make(editor: Editor) -> onnx_ir.Value:
        name, dtype = node.outputs[0].name or "integers", np.int8 if grid.signed else np.uint8
        low, high = (np.array(np.clip(end, grid.low, grid.high), dtype) for end in ends)
        whole = editor.op("QuantizeLinear", [before, *node.inputs[1:]], dict(node.attributes), name=f"{name}.whole")
        return editor.op("Clip", [whole, editor.constant(low, f"{name}.low"), editor.constant(high, f"{name}.high")], like=node.outputs[0])

    return Rewrite.build(node, make, why=f"{bound.op_type} cuts integers off")


def _spans(outer: ActivationGrid, inner: ActivationGrid) -> bool:
    """True where every number of the inner grid lies in the outer's range, to half a step of the outer."""
    slack = _HALF * outer.scale
    low = (outer.low - outer.zero_point) * outer.scale - slack <= (inner.low - inner.zero_point) * inner.scale
    return low and (outer.high - outer.zero_point) * outer.scale + slack >= (inner.high - inner.zero_point) * inner.scale


PAIR_RULES = (cancel, drop_bound, bound_integers, merge_requantization, share_grid)
