"""MatMulInteger and ConvInteger: sums as they are, Σ (x − zx)·(w − zw) in int32, the input's zero point computed or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.backends.cim.lowering.convolutions import channels_first, channels_last, matrix_of, window_of
from netwright.backends.cim.lowering.emitting import SIGN_SHIFT, Workshop, shift_sign, windows
from netwright.backends.cim.lowering.reading import LIMITS, NoProduct, around_zero
from netwright.backends.cim.lowering.sums import column_sums, less_share, with_ones
from netwright.ir.dims import shape_of
from netwright.ir.editor import Editor
from netwright.ir.opinfo import int_attr, site
from netwright.ir.program import array
from netwright.passes.rewrite import Rewrite


@dataclass(frozen=True)
class _Layer:
    """An integer product that was read.

    Attributes:
        node: the MatMulInteger or ConvInteger.
        x: its input.
        weight: its weight in the graph.
        held: int8 of the weight's shape.
        rest: what `held` leaves of the weight's zero points, one or one for each output.
        form: what was taken from the weight, empty for nothing.
        signed: whether the input is int8.
        shifted: whether 128 is added to it, where digits carry no sign.
        zero: the input's zero point as a value; None where there is none.
        known: that zero point, 128 added where `shifted`; None where it is computed.
    """

    node: onnx_ir.Node
    x: onnx_ir.Value
    weight: onnx_ir.Value
    held: np.ndarray
    rest: np.ndarray
    form: str
    signed: bool
    shifted: bool
    zero: onnx_ir.Value | None
    known: int | None

    def product(self, editor: Editor, workshop: Workshop, source: onnx_ir.Value, matrix: np.ndarray, form: str) -> onnx_ir.Value:
        """Σ (x − zx)·(w − zw) of rows x, their 128 added before."""
        name = site(self.node)
        held = workshop.matrix(editor, self.weight, form, with_ones(matrix, self.rest))
        sums = workshop.product(editor, source, held, self.node, signed=self.signed and not self.shifted)
        sums = less_share(editor, sums, self.rest, matrix.shape[1], name)
        columns = column_sums(matrix, self.rest)
        if self.known is not None:
            part = (self.known * columns).astype(np.int32)
            return editor.op("Sub", [sums, editor.constant(part, f"{name}.columns")]) if part.any() else sums
        zero = editor.op("Cast", [self.zero], {"to": int(onnx_ir.DataType.INT32)}, name=f"{name}.zero")
        if self.shifted:
            zero = editor.op("Add", [zero, editor.constant(np.array(SIGN_SHIFT, np.int32), f"{name}.shift")])
        return editor.op("Sub", [sums, editor.op("Mul", [zero, editor.constant(columns.astype(np.int32), f"{name}.columns")])])


def lower_integer_matmul(node: onnx_ir.Node, workshop: Workshop) -> Rewrite:
    """MatMulInteger as a `CrossbarMatMul`.

    Raises:
        NoProduct: it cannot be one; the message says why.
    """
    layer = _read(node, workshop, 1)
    rank = len(shape_of(layer.x) or ())
    if layer.held.ndim != 2 or rank < 2:
        raise NoProduct(
            f"an input of rank {rank} times weights of rank {layer.held.ndim}; arrays hold matrices: write a MatMul for each matrix"
        )

    def make(editor: Editor) -> onnx_ir.Value:
        return layer.product(editor, workshop, _source(editor, layer), layer.held, layer.form or "as is")

    return Rewrite.build(node, make, why=_why(layer.held))


def lower_integer_convolution(node: onnx_ir.Node, workshop: Workshop) -> Rewrite:
    """ConvInteger as windows and a `CrossbarMatMul`.

    Raises:
        NoProduct: it cannot be one; the message says why.
    """
    layer = _read(node, workshop, 0)
    dims = shape_of(layer.x) or ()
    sizes = tuple(dim for dim in dims[2:] if isinstance(dim, int))
    if len(sizes) not in (1, 2) or len(sizes) != layer.held.ndim - 2:
        raise NoProduct(
            f"an input of shape [{', '.join(map(str, dims))}]; arrays take windows of one or two axes, of known size (dims={{…}})"
        )
    if (groups := int_attr(node, "group", 1)) != 1:
        raise NoProduct(f"ConvInteger in {groups} groups: quantize the float model with quantize(scheme='static'), whose groups are packed")
    line = len(sizes) == 1
    window = window_of(node, sizes, layer.held.shape[2:], layer.known or 0)
    if layer.known is None and any(window.pads):
        pads = ", ".join(map(str, window.pads))
        raise NoProduct(
            f"windows padded by {pads} with a zero point that is computed: quantize the float model with quantize(scheme='static')"
        )
    matrix = matrix_of(layer.held[:, :, :, None] if line else layer.held)

    def make(editor: Editor) -> onnx_ir.Value:
        rows = windows(editor, channels_last(editor, _source(editor, layer), line), window)
        return channels_first(editor, layer.product(editor, workshop, rows, matrix, f"kernel {layer.form}"), line)

    return Rewrite.build(node, make, why=_why(matrix))


def _read(node: onnx_ir.Node, workshop: Workshop, axis: int) -> _Layer:
    x, w, x_zero, w_zero = (*node.inputs, None, None)[:4]
    data = array(w)
    if x is None or w is None or data is None:
        raise NoProduct("both operands are computed: of such products MatMul between grids alone is written to arrays")
    kind = "" if x.dtype is None else x.dtype.numpy().name
    if kind not in LIMITS or data.dtype.name not in LIMITS:
        raise NoProduct(f"{kind or 'inputs of unknown type'} times {data.dtype.name}; arrays take bytes: use quantize(scheme='static')")
    if x_zero is not None and any(dim != 1 for dim in shape_of(x_zero) or ()):
        raise NoProduct(
            "the input has a zero point for each row, and arrays take one for all: quantize the float model with quantize(scheme='static')"
        )
    zero = np.zeros(1, np.int64) if w_zero is None else array(w_zero)
    if zero is None or zero.ndim > 1:
        raise NoProduct(
            "the weight's zero points are computed, or several for an output: quantize the float model with quantize(scheme='static')"
        )
    if zero.size not in (1, *data.shape[axis : axis + 1]):
        size = "×".join(map(str, data.shape))
        raise NoProduct(
            f"{zero.size} zero points for weights of {size}; arrays hold matrices, with one for each output: write a MatMul for each"
        )
    held, rest, form = around_zero(data, zero.astype(np.int64).reshape(-1), axis)
    workshop.refuse(held, rest)
    shifted = workshop.shifts(kind)
    given = np.zeros(1, np.int64) if x_zero is None else array(x_zero)
    known = None if given is None else int(given.reshape(-1)[0]) + SIGN_SHIFT * shifted
    return _Layer(node, x, w, held, rest, form, kind == "int8", shifted, x_zero, known)


def _source(editor: Editor, layer: _Layer) -> onnx_ir.Value:
    return shift_sign(editor, layer.x) if layer.shifted else layer.x


def _why(matrix: np.ndarray) -> str:
    return f"[{matrix.shape[0]}, {matrix.shape[1]}] weights in crossbars, sums as they are"
