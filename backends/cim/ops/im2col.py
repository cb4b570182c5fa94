"""`Im2Col`: the inputs of a convolution's products, one row of K for each place of its window.

x: bytes [N, H, W, C] → bytes of the same type [N, OH, OW, KH·KW·C], in the order (kh, kw, c), c fastest, so that consecutive rows of K
are consecutive bytes of a map with channels last. What stands outside the map is `pad_value`: the input's zero point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.backends.cim.ops.building import Body
from netwright.backends.cim.ops.schemas import REQUIRED, schema
from netwright.ir.dims import Dim, shape_of
from netwright.ir.operators import Operator
from netwright.ir.opinfo import int_attr, ints_attr
from netwright.ir.shape_context import Context
from netwright.ir.shape_rules.common import required, set_output

IM2COL = "Im2Col"

SCHEMA = schema(
    IM2COL,
    "x:X",
    "y:X",
    {
        "kernel_shape": ("INTS", REQUIRED),
        "strides": ("INTS", (1, 1)),
        "dilations": ("INTS", (1, 1)),
        "pads": ("INTS", (0, 0, 0, 0)),
        "pad_value": ("INT", 0),
    },
)


@dataclass(frozen=True, slots=True)
class Im2Col:
    """The attributes of an `Im2Col`.

    Attributes:
        kernel: height and width.
        strides: down and right.
        dilations: down and right.
        pads: top, left, bottom, right.
        pad_value: what stands outside.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    pad_value: int = 0

    @classmethod
    def of(cls, node: onnx_ir.Node) -> Im2Col:
        """The attributes of a node."""
        kh, kw = ints_attr(node, "kernel_shape")
        sh, sw = ints_attr(node, "strides", (1, 1))
        dh, dw = ints_attr(node, "dilations", (1, 1))
        top, left, bottom, right = ints_attr(node, "pads", (0, 0, 0, 0))
        return cls((kh, kw), (sh, sw), (dh, dw), (top, left, bottom, right), int_attr(node, "pad_value", 0))

    def attributes(self) -> dict[str, int | tuple[int, ...]]:
        """As attributes of a node."""
        return {
            "kernel_shape": self.kernel,
            "strides": self.strides,
            "dilations": self.dilations,
            "pads": self.pads,
            "pad_value": self.pad_value,
        }

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """OH and OW for a map of this size."""
        top, left, bottom, right = self.pads
        sizes = ((height + top + bottom, 0), (width + left + right, 1))
        found = [(size - (self.kernel[i] - 1) * self.dilations[i] - 1) // self.strides[i] + 1 for size, i in sizes]
        return found[0], found[1]

    def places(self, axis: int, count: int) -> np.ndarray:
        """Padded positions that `count` windows read along an axis: int64 [count, kernel]."""
        starts = np.arange(count, dtype=np.int64)[:, None] * self.strides[axis]
        return starts + np.arange(self.kernel[axis], dtype=np.int64) * self.dilations[axis]


def infer(context: Context, node: onnx_ir.Node) -> None:
    """The shape rule: [N, H, W, C] → [N, OH, OW, KH·KW·C]; H, W and C must be numbers."""
    (x,) = required(node, 1)
    dims = shape_of(x)
    if dims is None:
        set_output(context, node.outputs[0], None, x.dtype)
        return
    batch, height, width, channels = dims
    if not (isinstance(height, int) and isinstance(width, int) and isinstance(channels, int)):
        raise ValueError(f"height, width and channels must be numbers, not {height}, {width}, {channels}")
    window = Im2Col.of(node)
    rows = window.kernel[0] * window.kernel[1] * channels
    set_output(context, node.outputs[0], (batch, *window.output_size(height, width), rows), x.dtype)


def expand(node: onnx_ir.Node) -> onnx_ir.Graph:
    """Pad, then a Gather along H and one along W, which repeat what windows share; KH and KW move to the end."""
    x = node.inputs[0]
    dtype = "uint8" if x is None or x.dtype is None else x.dtype.numpy().name
    window = Im2Col.of(node)
    body = Body("x")
    data = body.input(0)
    if any(window.pads):
        top, left, bottom, right = window.pads
        value = body.constant(np.array(window.pad_value, dtype))
        data = body.op("Pad", [data, body.constant([0, top, left, 0, 0, bottom, right, 0]), value])
    sizes = shape_of(x) or (None, None, None, None)
    for axis, place in ((0, 1), (1, 3)):
        places = _places(body, window, axis, sizes[1 + axis], data, place)
        data = body.op("Gather", [data, places], {"axis": place})
    data = body.op("Transpose", [data], {"perm": [0, 1, 3, 2, 4, 5]})
    return body.finish(body.op("Reshape", [data, body.constant([0, 0, 0, -1])]), IM2COL)


def _places(body: Body, window: Im2Col, axis: int, size: Dim | None, data: onnx_ir.Value, place: int) -> onnx_ir.Value:
    """Positions that windows read along an axis: a constant where its size is known, else computed from the padded map's size."""
    if isinstance(size, int):
        return body.constant(window.places(axis, window.output_size(size, size)[axis]))
    reach = (window.kernel[axis] - 1) * window.dilations[axis] + 1
    padded = body.op("Gather", [body.op("Shape", [data]), body.constant(place)])
    room = body.op("Sub", [padded, body.constant(reach)])
    count = body.op("Add", [body.op("Div", [room, body.constant(window.strides[axis])]), body.constant(1)])
    numbers = body.op("Range", [body.constant(0), count, body.constant(1)])
    starts = body.op("Mul", [numbers, body.constant(window.strides[axis])])
    column = body.op("Unsqueeze", [starts, body.constant([1])])
    return body.op("Add", [column, body.constant(window.places(axis, 1)[0])])


OPERATOR = Operator(SCHEMA, infer, expand)
