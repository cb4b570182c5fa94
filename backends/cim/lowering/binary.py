"""Binary layers: inputs ±a with weights ±b[j], as products of signs (encoding `xnor`).

Inputs are told by what makes them, `Where(condition, a, −a)`: ONNX's Sign gives 0 for 0, and a cell of one bit has no 0. Likewise a
padded window holds zeros, which are neither sign.
"""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.backends.cim.lowering.convolutions import channels_first, channels_last, window_of
from netwright.backends.cim.lowering.emitting import Workshop, windows
from netwright.backends.cim.lowering.matmuls import factors_of, plus
from netwright.backends.cim.lowering.reading import NoProduct
from netwright.backends.cim.lowering.sums import Scales, to_floats
from netwright.backends.cim.ops.im2col import Im2Col
from netwright.ir.dims import shape_of
from netwright.ir.editor import Editor
from netwright.ir.opinfo import int_attr, is_standard, site
from netwright.ir.program import array
from netwright.passes.rewrite import Rewrite
from netwright.passes.simplify.facts import producer


def is_binary(node: onnx_ir.Node) -> bool:
    """True of products whose inputs are made as signs."""
    return _signs(node.inputs[0]) is not None or producer(node.inputs[0], "Sign") is not None


def lower_binary(node: onnx_ir.Node, workshop: Workshop) -> Rewrite:
    """A product of signs.

    Raises:
        NoProduct: it is none; the message says why.
    """
    found = _signs(node.inputs[0])
    if found is None:
        raise NoProduct("Sign gives 0 for 0, which is no sign: write Where(x >= 0, 1, -1)")
    choice, magnitude, positive = found
    data = array(node.inputs[1])
    if data is None or data.dtype != np.float32:
        raise NoProduct("signs times what is computed, or no float32: make the weights float32 initializers")
    convolution = is_standard(node, "Conv")
    line = convolution and data.ndim == 3
    kernel = data[:, :, :, None] if line else data
    matrix, factors = _matrix(node, kernel, convolution=convolution)
    window = _window(node, kernel, line=line) if convolution else None
    alpha, beta = factors_of(node)
    scales = Scales(site(node), alpha * np.float32(magnitude), factors, np.zeros((matrix.shape[1],), np.int32))
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    weight = node.inputs[1]
    assert weight is not None, "it has elements"

    def change(editor: Editor) -> None:
        one = np.int8(1 if positive else -1)
        sides = [editor.constant(np.array(side, np.int8), f"{site(node)}.sign") for side in (one, -one)]
        x = editor.op("Where", [choice, *sides], name=f"{site(node)}.signs")
        held = workshop.matrix(editor, weight, "signs", matrix)
        rows = windows(editor, channels_last(editor, x, line), window) if window is not None else x
        made = to_floats(editor, workshop.product(editor, rows, held, node, signed=True, encoding="xnor"), scales)
        made = made if bias is None else plus(editor, made, bias, beta)
        editor.replace(node.outputs[0], channels_first(editor, made, line) if window is not None else made)

    return Rewrite.edit(site(node), f"signs times [{matrix.shape[0]}, {matrix.shape[1]}] signs in crossbars", change, anchor=node)


def _signs(value: onnx_ir.Value | None) -> tuple[onnx_ir.Value, float, bool] | None:
    """The condition of Where(condition, a, −a), |a|, and whether a is positive."""
    node = producer(value, "Where")
    if node is None or node.inputs[0] is None:
        return None
    sides = [array(node.inputs[index], limit=1) for index in (1, 2)]
    a, b = (float(side.reshape(())) if side is not None and side.dtype == np.float32 and side.size == 1 else 0.0 for side in sides)
    if a != -b or a == 0 or not np.isfinite(a):
        return None
    return node.inputs[0], abs(a), a > 0


def _matrix(node: onnx_ir.Node, kernel: np.ndarray, *, convolution: bool) -> tuple[np.ndarray, np.ndarray]:
    """Signs int8 [K, J] and a float32 magnitude for each output."""
    if convolution:
        flat = kernel.transpose(2, 3, 1, 0).reshape(-1, kernel.shape[0])
    else:
        turned = is_standard(node, "Gemm") and bool(int_attr(node, "transB", 0))
        flat = kernel.T if turned else kernel
        rank = len(shape_of(node.inputs[0]) or ())
        if flat.ndim != 2 or rank < 2:
            raise NoProduct(
                f"an input of rank {rank} times weights of rank {flat.ndim}; arrays hold matrices: write a MatMul for each matrix"
            )
    sizes = np.abs(flat)
    if not sizes.size or not (sizes == sizes[:1]).all() or not sizes.all():
        raise NoProduct(
            "the input is signs, but the weights of an output have several magnitudes: give each output one, or quantize the input to bytes"
        )
    return np.ascontiguousarray(np.sign(flat).astype(np.int8)), sizes[0].astype(np.float32)


def _window(node: onnx_ir.Node, kernel: np.ndarray, *, line: bool) -> Im2Col:
    sizes = tuple(dim for dim in (shape_of(node.inputs[0]) or ())[2:] if isinstance(dim, int))
    if len(sizes) != (1 if line else 2):
        raise NoProduct("windows over a map whose size is not known: give every dimension a number, dims={'height': 64}")
    if int_attr(node, "group", 1) != 1:
        raise NoProduct(f"signs in {int_attr(node, 'group', 1)} groups: write a Conv for each group")
    window = window_of(node, sizes, kernel.shape[2:3] if line else kernel.shape[2:], 0)
    if any(window.pads):
        raise NoProduct("a padded window of signs: the zeros outside are no signs; pad with ±a before")
    return window
