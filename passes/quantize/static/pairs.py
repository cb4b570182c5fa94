"""QuantizeLinear and DequantizeLinear around activations: what puts a value on its grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.errors import UnsupportedModelError
from netwright.ir.program import Program, array, constant
from netwright.passes.quantize.choice import ActivationGrid
from netwright.passes.quantize.static.operators import moves_integers, rescaling
from netwright.passes.quantize.zeros import zero_points

ON_GRID = 1e-3
"""How far, in steps, a shift or bound may lie from an integer to count as one."""
_TYPES = {(8, False): np.uint8, (8, True): np.int8, (16, False): np.uint16, (16, True): np.int16}


@dataclass(slots=True)
class Pairs:
    """Puts values on their grids, each once.

    Attributes:
        grids: by the value's name.
        order: position of each node, of re-created ones that of the node whose place they take.
    """

    grids: Mapping[str, ActivationGrid]
    order: dict[onnx_ir.Node, int] = field(default_factory=dict[onnx_ir.Node, int])

    @classmethod
    def of(cls, program: Program, grids: Mapping[str, ActivationGrid]) -> Pairs:
        """For a program about to be quantized; linear in nodes."""
        return cls(grids, {node: position for position, node in enumerate(program.nodes())})

    def missing(self, value: onnx_ir.Value | None) -> str | None:
        """The name of the value that would need a grid for `value` to be read as integers, where it has none."""
        while value is not None:
            if value.name in self.grids or grid_of(value) is not None or constant(value) is not None:
                return None
            node = value.producer()
            if node is None or not moves_integers(node):
                return value.name or ""
            value = node.inputs[0]
        return ""

    def read(self, editor: Editor, node: onnx_ir.Node, index: int) -> ActivationGrid:
        """Have a node read its operand from its grid; operators that move integers are looked through.

        Leaves the editor's insertion point at the node.
        """
        value = node.inputs[index]
        assert value is not None
        known = grid_of(value)
        if known is not None:
            return known
        grid = self.grids.get(value.name or "")
        if grid is None and constant(value) is not None:
            grid = grid_for(array(value))
        if grid is None:
            mover = value.producer()
            if mover is None or not moves_integers(mover):
                raise UnsupportedModelError(f"%{value.name} has no grid.", place=value.name, remedy="Calibrate it.")
            found = self.read(editor, mover, 0)
            editor.at(node)
            if mover.op_type == "HardSigmoid" and not _keeps_integers(mover, found):
                editor.set_input(node, index, pair(editor, value, GATE, value.name or "gate"))
            return found
        made = _made(value, node.graph, grid)
        if made is None:
            readers = [user for user, _ in value.uses() if user.graph is node.graph and user in self.order]
            editor.at(min(readers, key=self.order.__getitem__))
            made = pair(editor, value, grid, f"{value.name}.quantized")
        editor.at(node).set_input(node, index, made)
        return grid

    def settle(self, editor: Editor, node: onnx_ir.Node) -> None:
        """Put a node's result on its grid, for all readers: the node is made anew, with the pair behind it."""
        old = node.outputs[0]
        grid = self.grids[old.name or ""]
        again = editor.at(node).op(node.op_type, node.inputs, dict(node.attributes), domain=node.domain, name=f"{old.name}.float", like=old)
        self.replace(editor, node, pair(editor, again, grid, old.name or ""))
        producer = again.producer()
        assert producer is not None
        self.order[producer] = self.order.get(node, 0)

    def replace(self, editor: Editor, node: onnx_ir.Node, made: onnx_ir.Value) -> None:
        """Put a dequantized value in the place of a node's result; readers that had put that on its grid already read it directly."""
        editor.replace(node.outputs[0], made)
        grid = grid_of(made)
        for user, _ in made.uses():
            if user.op_type != "QuantizeLinear":
                continue
            for again, _ in user.outputs[0].uses():
                if again.op_type == "DequantizeLinear" and grid_of(again.outputs[0]) == grid:
                    for reader, index in again.outputs[0].uses():
                        editor.set_input(reader, index, made)


GATE = ActivationGrid(float(np.float32(1 / 255)), 0)
"""What lies between 0 and 1."""


def _keeps_integers(node: onnx_ir.Node, grid: ActivationGrid) -> bool:
    """True where HardSigmoid of integers on this grid is those integers on another."""
    change = rescaling(node)
    steps = change.shift / (change.factor * grid.scale) if change is not None else 0.5
    return abs(steps - round(steps)) < ON_GRID and round(steps) <= grid.zero_point - grid.low


def pair(editor: Editor, value: onnx_ir.Value, grid: ActivationGrid, name: str) -> onnx_ir.Value:
    """The value put on a grid and taken back to float32."""
    scale, zero = grid_constants(editor, grid, name)
    integers = editor.op("QuantizeLinear", [value, scale, zero], name=f"{name}.integers")
    return editor.op("DequantizeLinear", [integers, scale, zero], name=f"{name}.dequantized", like=value)


def grid_constants(editor: Editor, grid: ActivationGrid, name: str) -> tuple[onnx_ir.Value, onnx_ir.Value]:
    """Scale and zero point as initializers."""
    zero = np.array(grid.zero_point, _TYPES[grid.bits, grid.signed])
    return editor.constant(np.array(grid.scale, np.float32), f"{name}.scale"), editor.constant(zero, f"{name}.zero_point")


def grid_of(value: onnx_ir.Value | None) -> ActivationGrid | None:
    """The grid on which a value lies: that of the DequantizeLinear, of one scale for the whole tensor, which makes it."""
    node = value.producer() if value is not None else None
    if node is None or node.op_type != "DequantizeLinear" or node.domain:
        return None
    return grid_at(node)


def grid_at(node: onnx_ir.Node) -> ActivationGrid | None:
    """The grid of a QuantizeLinear or DequantizeLinear; None where it is computed or varies along an axis."""
    scale, point = array(node.inputs[1], limit=1), zero_points(node, limit=1)
    if scale is None or point is None or scale.size != 1 or point.size != 1 or point.dtype.kind not in "iu" or point.dtype.itemsize > 2:
        return None
    return ActivationGrid(float(scale.reshape(-1)[0]), int(point.reshape(-1)[0]), 8 * point.dtype.itemsize, signed=point.dtype.kind == "i")


def grid_for(data: np.ndarray | None) -> ActivationGrid:
    """The grid that just spans a constant."""
    low, high = (0.0, 0.0) if data is None or data.size == 0 else (min(float(data.min()), 0.0), max(float(data.max()), 0.0))
    scale = float(np.float32((high - low) / 255)) if high > low else 1.0
    return ActivationGrid(scale, int(np.clip(np.rint(-low / scale), 0, 255)))


def _made(value: onnx_ir.Value, graph: object, grid: ActivationGrid) -> onnx_ir.Value | None:
    """The value as it comes back from a grid on which it was put before."""
    for user, _ in value.uses():
        if user.op_type == "QuantizeLinear" and user.graph is graph and grid_at(user) == rounded(grid):
            for reader, _ in user.outputs[0].uses():
                if reader.op_type == "DequantizeLinear" and reader.graph is graph and grid_of(reader.outputs[0]) == rounded(grid):
                    return reader.outputs[0]
    return None


def rounded(grid: ActivationGrid) -> ActivationGrid:
    """The grid with the scale as float32 holds it."""
    return ActivationGrid(float(np.float32(grid.scale)), grid.zero_point, grid.bits, grid.signed)
