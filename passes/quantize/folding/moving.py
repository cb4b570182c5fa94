"""Integers through operators that only move them."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.program import Program, constant
from netwright.passes.quantize.choice import ActivationGrid
from netwright.passes.quantize.folding.facts import dequantized, is_output_once, is_taken, sole_reader
from netwright.passes.quantize.folding.rescaling import RESCALING_RULES
from netwright.passes.quantize.static.operators import SELECTIONS, VIEWS, bounds, is_view, moves_integers
from netwright.passes.quantize.static.pairs import ON_GRID, grid_at
from netwright.passes.rewrite import Rewrite
from netwright.passes.rules import rule

_GROWING = frozenset({"Expand", "Pad", "Resize", "Tile"})
_BYTE = 8
_UNSIGNED_ONLY = frozenset({"DepthToSpace", "Resize", "SpaceToDepth"})
"""ONNX Runtime has kernels of these for uint8, and not for int8."""


@rule(*sorted(VIEWS | SELECTIONS))
def sink_dequantize(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """An operator that moves what DequantizeLinear gives: it moves the integers instead."""
    found = dequantized(node.inputs[0]) if moves_integers(node) else None
    if found is None or not all(is_output_once(output) for output in node.outputs):
        return None
    dequantize, grid = found
    if grid.bits != _BYTE or (grid.signed and node.op_type in _UNSIGNED_ONLY) or (node.op_type in _GROWING and not is_taken(node)):
        return None
    limits = _integer_bounds(node, grid) if node.op_type in ("Clip", "Relu") else None
    if node.op_type in ("Clip", "Relu") and limits is None:
        return None
    integers, scale, zero = dequantize.inputs[0], dequantize.inputs[1], _zero(dequantize)

    def make(editor: Editor) -> list[onnx_ir.Value]:
        name = node.outputs[0].name or node.op_type
        given = [integers, *node.inputs[1:]]
        op_type, attributes = node.op_type, dict(node.attributes)
        if limits is not None:
            if limits == (grid.low, grid.high):
                return [editor.op("DequantizeLinear", [integers, scale, zero], like=node.outputs[0])]
            dtype = np.int8 if grid.signed else np.uint8
            ends = [editor.constant(np.array(end, dtype), f"{name}.{which}") for end, which in zip(limits, ("low", "high"), strict=True)]
            op_type, given, attributes = "Clip", [integers, *ends], {}
        elif op_type == "Pad":
            point = editor.constant(np.array(grid.zero_point, np.int8 if grid.signed else np.uint8), f"{name}.padding")
            given = [*given[:2], point, *given[3:]]
        names = [f"{output.name}.integers" for output in node.outputs]
        moved = editor.ops(op_type, given, attributes, names=names)
        return [
            editor.op("DequantizeLinear", [one, scale, zero], name=output.name or "", like=output)
            for one, output in zip(moved, node.outputs, strict=True)
        ]

    return Rewrite.build(node, make, why=f"{node.op_type} moves integers")


@rule("Concat")
def sink_through_concat(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Joined values that lie on one grid are joined as integers."""
    found = [dequantized(operand) for operand in node.inputs]
    first = found[0] if found else None
    if first is None or any(one is None or one[1] != first[1] for one in found) or not is_output_once(node.outputs[0]):
        return None
    dequantize = first[0]
    parts = [one[0].inputs[0] for one in found if one is not None]

    def make(editor: Editor) -> onnx_ir.Value:
        joined = editor.op("Concat", parts, dict(node.attributes), name=f"{node.outputs[0].name}.integers")
        return editor.op("DequantizeLinear", [joined, dequantize.inputs[1], _zero(dequantize)], like=node.outputs[0])

    return Rewrite.build(node, make, why="joined as integers of one grid")


@rule("QuantizeLinear")
def hoist_quantize(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A view between a float value and its integers: the integers are viewed instead."""
    source = node.inputs[0]
    view = source.producer() if source is not None else None
    grid = grid_at(node)
    if view is None or source is None or not is_view(view) or sole_reader(source) is not node or grid is None or grid.bits != _BYTE:
        return None
    before = view.inputs[0]
    if constant(before) is not None or (grid.signed and view.op_type in _UNSIGNED_ONLY) or not is_output_once(node.outputs[0]):
        return None

    def make(editor: Editor) -> onnx_ir.Value:
        integers = editor.at(view).op("QuantizeLinear", [before, *node.inputs[1:]], dict(node.attributes), name=f"{before.name}.integers")  # type: ignore[union-attr]
        moved = [integers, *view.inputs[1:]]
        return editor.at(node).op(view.op_type, moved, dict(view.attributes), like=node.outputs[0])

    return Rewrite.build(node, make, why=f"{view.op_type} moves integers")


def _integer_bounds(node: onnx_ir.Node, grid: ActivationGrid) -> tuple[int, int] | None:
    """The bounds as integers of the grid; None where one lies between two of them."""
    limits = bounds(node)
    if limits is None:
        return None
    found: list[int] = []
    for limit in limits:
        steps = min(max(limit / grid.scale + grid.zero_point, grid.low), grid.high)
        if abs(steps - round(steps)) > ON_GRID:
            return None
        found.append(round(steps))
    return found[0], found[1]


def _zero(dequantize: onnx_ir.Node) -> onnx_ir.Value | None:
    return dequantize.inputs[2] if len(dequantize.inputs) > 2 else None


MOVING_RULES = (sink_dequantize, *RESCALING_RULES, sink_through_concat, hoist_quantize)
