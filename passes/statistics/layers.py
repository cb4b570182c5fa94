"""Layers that are linear in their input: what rows they see, and their weight as a matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.opinfo import float_attr, has_references, int_attr, is_float, is_standard
from netwright.ir.program import array, constant
from netwright.ir.shapes import rank
from netwright.passes.statistics.windows import Window


@dataclass(frozen=True, slots=True, eq=False)
class LinearLayer:
    """A Conv, MatMul or Gemm with a constant weight: y = M x at every place, M: [outputs, features], for each group of channels.

    A place is a position of the output: a row of a product, a pixel of a convolution. Features are the channels that a place sees; of a
    convolution, those of every tap, taps first.

    Attributes:
        node: the node.
        weight: the constant.
        turned: whether the node reads the weight's transpose.
        data: what is multiplied.
        left: whether the weight is the left operand (y = W x, places along the last axis).
        scale: what the product is multiplied by (Gemm's alpha).
        window: of a convolution.
    """

    node: onnx_ir.Node
    weight: onnx_ir.Value
    turned: bool
    data: onnx_ir.Value
    left: bool = False
    scale: float = 1.0
    window: Window | None = None

    @property
    def output(self) -> onnx_ir.Value:
        """What the node makes."""
        return self.node.outputs[0]

    @property
    def groups(self) -> int:
        """Groups of channels that do not see each other."""
        return 1 if self.window is None else self.window.groups

    @property
    def in_axis(self) -> int:
        """The axis of the weight along which inputs lie."""
        return int(self.left != self.turned) if self.window is None else 1

    @property
    def out_axis(self) -> int:
        """The axis of the weight along which outputs lie."""
        return 1 - self.in_axis

    @property
    def channel_axis(self) -> int:
        """The axis of the data along which channels lie."""
        return 1 if self.window is not None else -2 if self.left or self._data_turned else -1

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's."""
        tensor = constant(self.weight)
        assert tensor is not None, "found by its constant weight"
        return tuple(tensor.shape.numpy())

    @property
    def channels(self) -> int:
        """Input channels of one group."""
        return self.shape[self.in_axis]

    @property
    def outputs(self) -> int:
        """Output channels of all groups."""
        return self.shape[self.out_axis]

    @property
    def taps(self) -> int:
        """Places of the input that each place sees."""
        return 1 if self.window is None else self.window.taps

    @property
    def _data_turned(self) -> bool:
        return self.node.op_type == "Gemm" and bool(int_attr(self.node, "transA", 0))

    def matrices(self) -> np.ndarray:
        """M of each group, [groups, outputs / groups, features], float64."""
        data = array(self.weight)
        assert data is not None, "found by its constant weight"
        whole = data.astype(np.float64) * self.scale
        if self.window is None:
            return (whole.T if self.in_axis == 0 else whole)[None]
        taps_first = np.moveaxis(whole.reshape(*whole.shape[:2], -1), 2, 1)  # [outputs, taps, channels]
        return taps_first.reshape(self.groups, self.outputs // self.groups, -1)

    def with_matrices(self, matrices: np.ndarray) -> np.ndarray:
        """The weight, in its own layout and type, that has these matrices: the inverse of `matrices`."""
        data = array(self.weight)
        assert data is not None, "found by its constant weight"
        if self.window is None:
            whole = matrices[0].T if self.in_axis == 0 else matrices[0]
        else:
            taps_first = matrices.reshape(self.outputs, self.taps, self.channels)
            whole = np.moveaxis(taps_first, 1, 2).reshape(data.shape)
        return np.ascontiguousarray((whole / self.scale).astype(data.dtype))

    def places(self, y: np.ndarray) -> int:
        """How many places an output has."""
        return y.size // y.shape[1 if self.window is not None else -2 if self.left else -1]

    def rows(self, x: np.ndarray, y: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """What the chosen places see, [groups, chosen, features].

        Args:
            x: the data.
            y: the output, of which only the shape counts.
            chosen: numbers of places.
        """
        if self.window is None:
            return _channels_last(x, self.channel_axis)[chosen][None]
        found = self.window.patches(x, y.shape[2:], chosen)
        grouped = found.reshape(len(chosen), self.taps, self.groups, -1)
        return np.moveaxis(grouped, 2, 0).reshape(self.groups, len(chosen), -1)

    def targets(self, y: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """The output at the chosen places, [chosen, outputs]."""
        if self.window is None:
            return _channels_last(y, -2 if self.left else -1)[chosen]
        sample, place = np.divmod(chosen, math.prod(y.shape[2:]))
        return y.reshape(*y.shape[:2], -1)[sample, :, place]


def layer_of(node: onnx_ir.Node) -> LinearLayer | None:
    """The node as a linear layer; None where it is none, or its weight is no constant of floats.

    A weight read through Transpose (of two axes), Identity or nothing at all counts; so does one on the left of a MatMul.
    """
    if has_references(node) or not is_standard(node, "Conv", "MatMul", "Gemm"):
        return None
    x, w = node.inputs[0], node.inputs[1]
    if x is None or w is None:
        return None
    if node.op_type == "Conv":
        root, turned = constant_root(w)
        shape = _shape(root)
        if root is None or turned or len(shape) < 3 or constant(x) is not None:
            return None
        return LinearLayer(node, root, False, x, window=Window.of(node, shape[2:]))
    for data, weight, left in ((x, w, False), (w, x, True)):
        root, turned = constant_root(weight)
        if root is None or len(_shape(root)) != 2 or constant_root(data)[0] is not None or (left and (rank(data) or 2) < 2):
            continue
        if node.op_type == "MatMul":
            return LinearLayer(node, root, turned, data, left)
        alpha = float_attr(node, "alpha", 1.0)
        if left or alpha == 0.0:
            return None
        return LinearLayer(node, root, turned != bool(int_attr(node, "transB", 0)), data, scale=alpha)
    return None


def constant_root(value: onnx_ir.Value | None) -> tuple[onnx_ir.Value | None, bool]:
    """The float constant behind a value, and whether the value is its transpose; None where there is none.

    Transposes (of two axes) and Identities between them are passed.
    """
    turned = False
    while value is not None:
        tensor = constant(value)
        if tensor is not None:
            return (value, turned) if is_float(tensor.dtype) else (None, False)
        node = value.producer()
        if node is None or has_references(node) or not is_standard(node, "Transpose", "Identity"):
            return None, False
        if node.op_type == "Transpose":
            perm = list(node.attributes.get_ints("perm", ()))
            if perm not in ([], [1, 0]) or rank(node.inputs[0]) != 2:
                return None, False
            turned = not turned
        value = node.inputs[0]
    return None, False


def _shape(value: onnx_ir.Value | None) -> tuple[int, ...]:
    tensor = constant(value)
    return () if tensor is None else tuple(tensor.shape.numpy())


def _channels_last(x: np.ndarray, axis: int) -> np.ndarray:
    """[places, channels]."""
    moved = x if axis == -1 or x.ndim < 2 else np.moveaxis(x, axis, -1)
    return moved.reshape(-1, moved.shape[-1])
