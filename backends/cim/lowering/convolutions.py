"""Convolutions of bytes with constant weights: windows in the order (kh, kw, c), channels last, and one product."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir

from netwright.backends.cim.lowering.emitting import SIGN_SHIFT, Workshop, shift_sign, windows
from netwright.backends.cim.lowering.matmuls import integer_bias
from netwright.backends.cim.lowering.reading import NoProduct, activation, grid_of, weight
from netwright.backends.cim.lowering.sums import Scales, offset_of, to_bytes, to_floats
from netwright.backends.cim.ops.im2col import Im2Col
from netwright.ir.dims import shape_of
from netwright.ir.editor import Editor
from netwright.ir.opinfo import int_attr, ints_attr, site, str_attr
from netwright.ir.program import array
from netwright.passes.rewrite import Rewrite

LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
"""Permutations: channels to the end, and back."""


def lower_convolution(node: onnx_ir.Node, workshop: Workshop) -> Rewrite:
    """Conv, of one or two spatial axes, as windows and a `CrossbarMatMul`.

    Raises:
        NoProduct: it cannot be one; the message says why.
    """
    x, input_scale, zero = activation(node.inputs[0])
    w, data, weight_scale = weight(node.inputs[1], 0)
    sizes = tuple(dim for dim in (shape_of(x.value) or ())[2:] if isinstance(dim, int))
    if len(sizes) not in (1, 2) or len(sizes) != data.ndim - 2:
        raise NoProduct(f"an input of shape {shape_of(x.value)}; arrays take windows of one or two axes, of known size")
    if int_attr(node, "group", 1) != 1:
        raise NoProduct(f"{int_attr(node, 'group', 1)} groups of {data.shape[1]} channels each: on the vector unit")
    line = len(sizes) == 1
    shifted = workshop.shifts(x.dtype)
    zero_point = zero + (SIGN_SHIFT if shifted else 0)
    window = window_of(node, sizes, data.shape[2:], zero_point)
    kernel = data[:, :, :, None] if line else data
    matrix = np.ascontiguousarray(kernel.transpose(2, 3, 1, 0).reshape(-1, kernel.shape[0]))
    workshop.refuse(matrix)
    bias, floats = _bias(node, input_scale * weight_scale)
    scales = Scales(site(node), input_scale, weight_scale, offset_of(matrix, zero_point, bias))
    grid = grid_of(node.outputs[0]) if floats is None else None
    result = node.outputs[0] if grid is None else grid.value

    def change(editor: Editor) -> None:
        source = shift_sign(editor, x.value) if shifted else x.value
        held = workshop.matrix(editor, w.value, "kernel", matrix)
        rows = windows(editor, channels_last(editor, source, line), window)
        sums = workshop.product(editor, rows, held, layer=site(node), signed=x.dtype == "int8" and not shifted)
        made = to_bytes(editor, sums, scales, grid) if grid is not None else to_floats(editor, sums, scales)
        if floats is not None:
            made = editor.op("Add", [made, floats])
        editor.replace(result, channels_first(editor, made, line))

    kind = "bytes" if grid is not None else "floats"
    why = f"{'×'.join(map(str, data.shape[2:]))} windows, [{matrix.shape[0]}, {matrix.shape[1]}] weights in crossbars, sums to {kind}"
    return Rewrite.edit(site(node), why, change, anchor=node)


def channels_last(editor: Editor, x: onnx_ir.Value, line: bool) -> onnx_ir.Value:
    """[N, C, H, W] → [N, H, W, C]; [N, C, L] → [N, L, 1, C]."""
    if not line:
        return editor.op("Transpose", [x], {"perm": LAST}, name=f"{x.name}.last")
    wide = editor.op("Unsqueeze", [x, editor.constant(np.array([3], np.int64), "width")], name=f"{x.name}.map")
    return editor.op("Transpose", [wide], {"perm": LAST}, name=f"{x.name}.last")


def channels_first(editor: Editor, y: onnx_ir.Value, line: bool) -> onnx_ir.Value:
    """The way back."""
    turned = editor.op("Transpose", [y], {"perm": FIRST}, name=f"{y.name}.first")
    return editor.op("Squeeze", [turned, editor.constant(np.array([3], np.int64), "width")]) if line else turned


def window_of(node: onnx_ir.Node, sizes: Sequence[int], kernel: Sequence[int], zero: int) -> Im2Col:
    """A Conv's window; of one spatial axis, the map is one place wide."""
    count = len(kernel)
    strides = ints_attr(node, "strides") or (1,) * count
    dilations = ints_attr(node, "dilations") or (1,) * count
    begins, ends = _pads(node, sizes, kernel, strides, dilations)
    if count == 1:
        kernel, strides, dilations, begins, ends = (kernel[0], 1), (strides[0], 1), (dilations[0], 1), (begins[0], 0), (ends[0], 0)
    return Im2Col(
        (kernel[0], kernel[1]), (strides[0], strides[1]), (dilations[0], dilations[1]), (begins[0], begins[1], ends[0], ends[1]), zero
    )


def _pads(
    node: onnx_ir.Node, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    count, mode = len(kernel), str_attr(node, "auto_pad", "NOTSET")
    if mode == "VALID":
        return (0,) * count, (0,) * count
    if mode == "NOTSET":
        pads = ints_attr(node, "pads") or (0,) * (2 * count)
        return pads[:count], pads[count:]
    totals = [
        max((math.ceil(size / stride) - 1) * stride + (reach - 1) * dilation + 1 - size, 0)
        for size, reach, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    less, more = tuple(total // 2 for total in totals), tuple(total - total // 2 for total in totals)
    return (less, more) if mode == "SAME_UPPER" else (more, less)


def _bias(node: onnx_ir.Node, scale: np.ndarray) -> tuple[np.ndarray | None, onnx_ir.Value | None]:
    """A Conv's bias: as int32 [J], where it is quantized with the product's scale, or as floats to be added with channels last."""
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if given is None:
        return None, None
    found = integer_bias(given, scale)
    if found is None and array(given) is None:
        return None, given
    return (found, None) if found is not None else (None, given)
