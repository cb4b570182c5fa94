"""Convolutions of bytes with constant weights: windows in the order (kh, kw, c), channels last, and one product."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.backends.cim.lowering.chips import coding_for
from netwright.backends.cim.lowering.emitting import SIGN_SHIFT, Workshop, shift_sign, windows
from netwright.backends.cim.lowering.groups import Grouping, grouping, price_on_arrays, price_on_vector_unit
from netwright.backends.cim.lowering.reading import Grid, Integers, NoProduct, Weights, activation, grid_of, weight
from netwright.backends.cim.lowering.sums import Scales, bias_of, less_share, offset_of, to_bytes, to_floats, with_ones
from netwright.backends.cim.ops.im2col import Im2Col
from netwright.ir.dims import shape_of
from netwright.ir.editor import Editor
from netwright.ir.opinfo import int_attr, ints_attr, site, str_attr
from netwright.passes.rewrite import Rewrite

_SHARE = 8
"""One grouped layer may take so small a part of the chip's arrays: blocks that are mostly zeros must not push others out."""

LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
"""Permutations: channels to the end, and back."""


@dataclass(frozen=True)
class _Layer:
    """A convolution that was read.

    Attributes:
        node: the Conv.
        x: its input.
        weight: its weights.
        kernel: these as int8 [J, C/G, KH, KW].
        window: over the input, which has channels last and, where its digits carry no sign, 128 added.
        line: whether there is one spatial axis.
        shifted: whether 128 is added.
        scales: of input and weights, with what is added to sums.
        floats: a bias that is not int32 of the product's scale; added to the floats.
        grid: of the bytes that are made; None for floats.
    """

    node: onnx_ir.Node
    x: Integers
    weight: Weights
    kernel: np.ndarray
    window: Im2Col
    line: bool
    shifted: bool
    scales: Scales
    floats: onnx_ir.Value | None
    grid: Grid | None

    @property
    def signed(self) -> bool:
        return self.x.dtype == "int8" and not self.shifted

    @property
    def kind(self) -> str:
        return "floats" if self.grid is None else "bytes"


def lower_convolution(node: onnx_ir.Node, workshop: Workshop) -> Rewrite:
    """Conv, of one or two spatial axes, as windows and a `CrossbarMatMul`; of groups, as several where that is cheaper.

    Raises:
        NoProduct: it cannot be one, or the vector unit does it cheaper; the message says why.
    """
    layer = _read(node, workshop)
    workshop.refuse(layer.kernel, layer.weight.rest)
    groups = int_attr(node, "group", 1)
    if groups == 1:
        matrix = matrix_of(layer.kernel)
        size = "×".join(map(str, layer.window.kernel))
        why = f"{size} windows, [{matrix.shape[0]}, {matrix.shape[1]}] weights in crossbars{layer.weight.moved}, sums to {layer.kind}"
        return Rewrite.edit(site(node), why, lambda editor: _finish(editor, layer, _whole(editor, workshop, layer, matrix)), anchor=node)
    if layer.weight.rest.any():
        left = int(np.abs(layer.weight.rest).max())
        raise NoProduct(f"weights in {groups} groups with zero points that leave up to {left} as int8: make them int8 around 0")
    packing, why = _packed(layer, workshop, groups)
    return Rewrite.edit(site(node), why, lambda editor: _finish(editor, layer, _parts(editor, workshop, layer, packing)), anchor=node)


def _read(node: onnx_ir.Node, workshop: Workshop) -> _Layer:
    x, input_scale, zero = activation(node.inputs[0])
    w = weight(node.inputs[1], 0)
    data = w.held
    dims = shape_of(x.value) or ()
    sizes = tuple(dim for dim in dims[2:] if isinstance(dim, int))
    if len(sizes) not in (1, 2) or len(sizes) != data.ndim - 2:
        raise NoProduct(
            f"an input of shape [{', '.join(map(str, dims))}]; arrays take windows of one or two axes, of known size (dims={{…}})"
        )
    line, shifted = len(sizes) == 1, workshop.shifts(x.dtype)
    kernel = data[:, :, :, None] if line else data
    zero_point = zero + (SIGN_SHIFT if shifted else 0)
    window = window_of(node, sizes, data.shape[2:], zero_point)
    bias, floats = bias_of(node, input_scale * w.scale)
    offset = offset_of(kernel.reshape(kernel.shape[0], -1).T, zero_point, bias, w.rest)
    scales = Scales(site(node), input_scale, w.scale, offset)
    grid = grid_of(node.outputs[0]) if floats is None else None
    return _Layer(node, x, w, kernel, window, line, shifted, scales, floats, grid)


def matrix_of(kernel: np.ndarray) -> np.ndarray:
    """[J, C, KH, KW] → [KH·KW·C, J]."""
    return np.ascontiguousarray(kernel.transpose(2, 3, 1, 0).reshape(-1, kernel.shape[0]))


def _packed(layer: _Layer, workshop: Workshop, groups: int) -> tuple[Grouping, str]:
    """How groups go into arrays, and why that pays.

    Raises:
        NoProduct: it does not.
    """
    outputs, channels, *taps = layer.kernel.shape
    coding = coding_for(workshop.arch, input_signed=layer.signed)
    count = math.prod(taps)
    packing = grouping(workshop.arch, coding, groups=groups, channels=channels, outputs=outputs // groups, taps=count)
    height, width = (*(dim for dim in (shape_of(layer.x.value) or ())[2:] if isinstance(dim, int)), 1)[:2]
    positions = math.prod(layer.window.output_size(height, width))
    arrays = price_on_arrays(workshop.arch, coding, packing, positions)
    unit = price_on_vector_unit(workshop.arch, packing, positions)
    what = f"{groups} groups of {channels} channel{'s' * (channels > 1)} each"
    where = f"{len(packing.blocks)} diagonal blocks on crossbars {arrays}, the vector unit {unit}"
    needed, room = len(packing.blocks), workshop.arch.arrays // _SHARE
    if workshop.grouped == "vector" or (workshop.grouped == "auto" and arrays.product >= unit.product):
        raise NoProduct(f"{what}: {where}")
    if workshop.grouped == "auto" and needed > room:
        raise NoProduct(f"{what}: {where}, but that takes {needed} arrays, more than {room}, a {_SHARE}th of the chip")
    return packing, f"{what}: {where}"


def _input(editor: Editor, layer: _Layer) -> onnx_ir.Value:
    return channels_last(editor, shift_sign(editor, layer.x.value) if layer.shifted else layer.x.value, layer.line)


def _whole(editor: Editor, workshop: Workshop, layer: _Layer, matrix: np.ndarray) -> onnx_ir.Value:
    held = workshop.matrix(editor, layer.weight.value, f"kernel {layer.weight.form}", with_ones(matrix, layer.weight.rest))
    rows = windows(editor, _input(editor, layer), layer.window)
    sums = workshop.product(editor, rows, held, layer.node, signed=layer.signed)
    sums = less_share(editor, sums, layer.weight.rest, matrix.shape[1], site(layer.node))
    return _scaled(editor, sums, layer, layer.scales)


def _parts(editor: Editor, workshop: Workshop, layer: _Layer, packing: Grouping) -> onnx_ir.Value:
    name, blocks = site(layer.node), packing.blocks
    sizes = editor.constant(np.array([(stop - start) * packing.channels for start, stop in blocks], np.int64), f"{name}.channels")
    source = _input(editor, layer)
    names = [f"{name}.group{index}" for index in range(len(blocks))]
    pieces = editor.ops("Split", [source, sizes], {"axis": 3}, names=names) if len(blocks) > 1 else [source]
    made: list[onnx_ir.Value] = []
    for index, ((start, stop), piece) in enumerate(zip(blocks, pieces, strict=True)):
        held = workshop.matrix(
            editor, layer.weight.value, f"block {index} {layer.weight.form}", packing.matrix(layer.kernel, (start, stop))
        )
        sums = workshop.product(editor, windows(editor, piece, layer.window), held, layer.node, signed=layer.signed)
        span = slice(start * packing.outputs, stop * packing.outputs)
        made.append(_scaled(editor, sums, layer, layer.scales.part(span)))
    return editor.op("Concat", made, {"axis": 3}, name=f"{name}.joined") if len(made) > 1 else made[0]


def _scaled(editor: Editor, sums: onnx_ir.Value, layer: _Layer, scales: Scales) -> onnx_ir.Value:
    return to_floats(editor, sums, scales) if layer.grid is None else to_bytes(editor, sums, scales, layer.grid)


def _finish(editor: Editor, layer: _Layer, made: onnx_ir.Value) -> None:
    if layer.floats is not None:
        made = editor.op("Add", [made, layer.floats])
    result = layer.node.outputs[0] if layer.grid is None else layer.grid.value
    editor.replace(result, channels_first(editor, made, layer.line))


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
