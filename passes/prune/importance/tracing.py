"""Following the channels of projections through reshapes, transposes and rotations to the products of attention.

A traced value is an array of the value's shape, dynamic dimensions being 1, that says for each element which output channel of its
projection it comes from. So heads and the order of features within them are known, whatever way a model writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import onnx_ir

from netwright.ir.dims import evaluate, names_in, shape_of
from netwright.ir.opinfo import ELEMENTWISE_BINARY, int_attr, ints_attr, is_standard
from netwright.ir.program import array


@dataclass(frozen=True, slots=True, eq=False)
class Channels:
    """Where a value's elements come from.

    Attributes:
        source: the number of the projection, or of the attention whose result this is.
        index: the source's channel by element, of the value's shape with dynamic dimensions 1.
    """

    source: int
    index: np.ndarray

    def at(self, index: np.ndarray) -> Channels:
        """The same source, other elements."""
        return Channels(self.source, index)


def unit_shape(value: onnx_ir.Value | None) -> tuple[int, ...] | None:
    """A value's shape where every named dimension is 1; None where it is not known well enough."""
    dims = shape_of(value)
    if dims is None:
        return None
    ones = dict.fromkeys(names_in(dims), 1)
    sizes = [evaluate(dim, ones) if isinstance(dim, int) or dim.value is not None else 1 for dim in dims]
    return None if any(size is None for size in sizes) else tuple(size for size in sizes if size is not None)


def carried(node: onnx_ir.Node, known: Mapping[onnx_ir.Value, Channels]) -> list[Channels | None]:
    """What a node's outputs hold of traced values; None for outputs that hold nothing in particular."""
    if not is_standard(node) and node.op_type != "RotaryEmbedding":
        return [None] * len(node.outputs)
    carry = _CARRY.get("Elementwise" if node.op_type in ELEMENTWISE_BINARY else node.op_type)
    first = next((known[value] for value in node.inputs if value is not None and value in known), None)
    if carry is None or first is None:
        return [None] * len(node.outputs)
    try:
        return [first.at(found) for found in carry(node, first, known)]
    except ValueError:  # a shape that is not known well enough
        return [None] * len(node.outputs)


_Carry = Callable[[onnx_ir.Node, Channels, Mapping[onnx_ir.Value, Channels]], Sequence[np.ndarray]]


def _same(node: onnx_ir.Node, first: Channels, known: Mapping[onnx_ir.Value, Channels]) -> list[np.ndarray]:
    del known
    return [first.index] * len(node.outputs)


def _broadcast(node: onnx_ir.Node, first: Channels, known: Mapping[onnx_ir.Value, Channels]) -> list[np.ndarray]:
    del known
    shape = unit_shape(node.outputs[0])
    return [first.index if shape is None or shape == first.index.shape else np.broadcast_to(first.index, shape)]


def _reshape(node: onnx_ir.Node, first: Channels, known: Mapping[onnx_ir.Value, Channels]) -> list[np.ndarray]:
    del known
    shape = unit_shape(node.outputs[0])
    if shape is None:
        raise ValueError("the shape is not known")
    return [first.index.reshape(shape)]


def _transpose(node: onnx_ir.Node, first: Channels, known: Mapping[onnx_ir.Value, Channels]) -> list[np.ndarray]:
    del known
    return [first.index.transpose(ints_attr(node, "perm") or None)]


def _split(node: onnx_ir.Node, first: Channels, known: Mapping[onnx_ir.Value, Channels]) -> list[np.ndarray]:
    del known
    axis = int_attr(node, "axis", 0)
    shapes = [unit_shape(output) for output in node.outputs]
    ends = np.cumsum([shape[axis] for shape in shapes if shape is not None])
    if len(ends) != len(shapes) or ends[-1] != first.index.shape[axis]:
        raise ValueError("the sizes of the pieces are not known")
    return np.split(first.index, ends[:-1], axis)


def _slice(node: onnx_ir.Node, first: Channels, known: Mapping[onnx_ir.Value, Channels]) -> list[np.ndarray]:
    del known
    starts, ends = (_ints(node, place) for place in (1, 2))
    axes = _ints(node, 3) or tuple(range(len(starts or ())))
    steps = _ints(node, 4) or (1,) * len(axes)
    if unit_shape(node.outputs[0]) == first.index.shape:
        return [first.index]
    if starts is None or ends is None:
        raise ValueError("the bounds are not constant")
    index = first.index
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if index.shape[axis] != 1:  # of a dynamic dimension any part will do
            index = index[(slice(None),) * (axis % index.ndim) + (slice(start, end if end > -(2**31) else None, step),)]
    return [index]


def _gather(node: onnx_ir.Node, first: Channels, known: Mapping[onnx_ir.Value, Channels]) -> list[np.ndarray]:
    del known
    indices = array(node.inputs[1])
    axis = int_attr(node, "axis", 0)
    if indices is None:
        raise ValueError("the indices are not constant")
    return [first.index.take(indices if first.index.shape[axis] != 1 else np.zeros_like(indices), axis)]


def _concat(node: onnx_ir.Node, first: Channels, known: Mapping[onnx_ir.Value, Channels]) -> list[np.ndarray]:
    """Halves of a rotation; what comes from elsewhere (a cache) lies along a dynamic dimension and is passed over."""
    own = [found.index for value in node.inputs if value is not None and (found := known.get(value)) is not None]
    axis = int_attr(node, "axis", 0)
    joined = np.concatenate(own, axis)
    shape = unit_shape(node.outputs[0])
    return [joined if shape is None or joined.shape == shape else first.index]


def _ints(node: onnx_ir.Node, place: int) -> tuple[int, ...] | None:
    value = node.inputs[place] if place < len(node.inputs) else None
    data = array(value)
    return None if data is None else tuple(int(number) for number in data.reshape(-1))


_CARRY: Mapping[str, _Carry] = MappingProxyType(
    {
        "Elementwise": _broadcast,
        **dict.fromkeys(("Cast", "CastLike", "Dropout", "Identity", "Neg", "RMSNormalization", "RotaryEmbedding"), _same),
        **dict.fromkeys(("LayerNormalization", "Clip"), _same),
        **dict.fromkeys(("Expand", "Tile"), _broadcast),
        **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze", "Flatten"), _reshape),
        "Transpose": _transpose,
        "Split": _split,
        "Slice": _slice,
        "Gather": _gather,
        "Concat": _concat,
    }
)
"""How traced values go through operators; through others they do not."""
