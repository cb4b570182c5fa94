"""Multiplying constants along an axis, with the value map that says so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.maps import Affine, Mapped
from netwright.ir.program import array


def scale(editor: Editor, value: onnx_ir.Value, factors: np.ndarray, axis: int) -> None:
    """Multiply a constant along an axis, for all of its readers."""
    made, along = _product(value, factors, axis)
    editor.set_constant(value, made)
    editor.map(value.name or "", Mapped(Affine(scale=along), (value.name or "",)))


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A constant that scales, or is part of, what a node makes.

    Attributes:
        node: the node.
        index: which of its inputs the constant is.
        axis: of the constant, along which channels lie; None for a constant of one number, which becomes a vector.
    """

    node: onnx_ir.Node
    index: int
    axis: int | None

    def scale(self, editor: Editor, factors: np.ndarray) -> None:
        """Multiply it; a copy where others read it too."""
        value = self.node.inputs[self.index]
        assert value is not None, "found by its constant"
        if self.axis is None:
            data = array(value)
            assert data is not None, "found by its constant"
            made = (np.broadcast_to(data.reshape(-1), factors.shape) * factors).astype(data.dtype)
        else:
            made, along = _product(value, factors, self.axis)
            if value.is_initializer() and len(tuple(value.uses())) == 1 and not value.is_graph_output():
                editor.set_constant(value, made)
                editor.map(value.name or "", Mapped(Affine(scale=along), (value.name or "",)))
                return
        editor.set_input(self.node, self.index, editor.at(self.node).constant(made, value.name or "scaled"))


def _product(value: onnx_ir.Value, factors: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    data = array(value)
    assert data is not None, "found by its constant"
    shape = [1] * data.ndim
    shape[axis] = factors.size
    along = factors.reshape(shape)
    return (data.astype(np.float64) * along).astype(data.dtype), along
