"""Weights and biases of static kernels as constants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.maps import Affine, Mapped, Permute, Same
from netwright.passes.quantize.choice import Static
from netwright.passes.quantize.integers import Channels
from netwright.passes.quantize.record import record
from netwright.passes.quantize.rounding import Rounder
from netwright.passes.quantize.weights import float_array, owner_of

_LARGEST_BIAS = float(1 << 30)
"""A bias of more steps would leave no room for the sum."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a weight is to lie.

    Attributes:
        perm: order of its axes.
        axis: that of output channels, in the weight as it is.
        alpha: a factor.
    """

    perm: tuple[int, ...]
    axis: int
    alpha: float = 1.0

    @property
    def stored_axis(self) -> int:
        """The axis of output channels where it lies."""
        return self.perm.index(self.axis)

    @property
    def moved(self) -> tuple[int, ...]:
        """The order of its axes; nothing where they stay."""
        return () if list(self.perm) == sorted(self.perm) else self.perm

    def matrix(self, weight: np.ndarray) -> np.ndarray:
        """[outputs, features]: what a `Rounder` takes."""
        return np.moveaxis(weight, self.axis, 0).reshape(weight.shape[self.axis], -1)

    def stored(self, matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The matrix as the weight is to lie."""
        moved = (shape[self.axis], *(size for axis, size in enumerate(shape) if axis != self.axis))
        return np.ascontiguousarray(np.moveaxis(matrix.reshape(moved), 0, self.axis).transpose(self.perm))


def store_weight(
    editor: Editor, weight: onnx_ir.Value, form: Form, choice: Static, rounder: Rounder, biases: list[np.ndarray], *, trainable: bool
) -> tuple[onnx_ir.Value, np.ndarray]:
    """The weight behind a DequantizeLinear at the insertion point, and its scales, [outputs] or [1].

    Args:
        editor: the transaction.
        weight: constant.
        form: how it is to lie.
        choice: bits, and one scale or many.
        rounder: makes the integers.
        biases: for each reader, its bias in steps of its activation, [outputs]: scales are raised where one would leave int32.
        trainable: keep the weight in float32, and put it on its grid in the graph.
    """
    data, name = float_array(weight), weight.name or "weight"
    found = rounder.rows(weight, form.matrix(data), bits=choice.bits, per_channel=choice.axis != "tensor")
    found = _roomy(found, biases)
    scale = found.scale * np.float32(abs(form.alpha))
    values = found.values if form.alpha > 0 else np.clip(-found.values.astype(np.int16), -128, 127).astype(np.int8)
    per_channel = scale.size > 1
    at = form.stored_axis
    graph = owner_of(weight)
    step = editor.constant(scale if per_channel else scale.reshape(()), f"{name}.scale", graph=graph)
    zero = editor.constant(np.zeros(scale.shape if per_channel else (), np.int8), f"{name}.zero_point", graph=graph)
    attributes = {"axis": at} if per_channel else {}
    if trainable:
        held = _held(editor, weight, form, data, Channels(values, scale))
        integers = editor.op("QuantizeLinear", [held, step, zero], attributes, name=f"{name}.integers")
        return editor.op("DequantizeLinear", [integers, step, zero], attributes, name=f"{name}.dequantized"), scale
    integers = editor.constant(form.stored(values, data.shape), f"{name}.integers", graph=graph)
    factors = None if form.alpha == 1.0 else np.array(form.alpha, np.float32)
    record(editor, weight, integers, scale, form.axis, factors=factors, perm=form.moved)
    return editor.op("DequantizeLinear", [integers, step, zero], attributes, name=f"{name}.dequantized"), scale


def store_bias(editor: Editor, bias: np.ndarray, scale: np.ndarray, name: str) -> onnx_ir.Value:
    """A bias, [outputs], as int32 in steps of `scale` (that of the activation times that of the weight), behind a DequantizeLinear."""
    per_channel = scale.size > 1
    steps = np.rint(bias.astype(np.float64) / scale.astype(np.float64))
    integers = np.clip(steps, -(1 << 31), (1 << 31) - 1).astype(np.int32)
    held = editor.constant(integers, f"{name}.integers")
    step = editor.constant(scale if per_channel else scale.reshape(()), f"{name}.scale")
    zero = editor.constant(np.zeros(scale.shape if per_channel else (), np.int32), f"{name}.zero_point")
    return editor.op("DequantizeLinear", [held, step, zero], {"axis": 0} if per_channel else {}, name=f"{name}.dequantized")


def _held(editor: Editor, weight: onnx_ir.Value, form: Form, data: np.ndarray, found: Channels) -> onnx_ir.Value:
    """The weight in float32 as it is to lie: itself where rounding it to the nearest gives the integers, else the integers times scales."""
    matrix = form.matrix(data) * np.float32(form.alpha)
    column = found.scale[:, None]
    if np.array_equal(np.clip(np.rint(matrix / column), -128, 127), found.values):
        if not form.moved and form.alpha == 1.0 and weight.dtype == onnx_ir.DataType.FLOAT:
            return weight
    else:
        matrix = found.values * column
    held = editor.constant(form.stored(matrix, data.shape), f"{weight.name}.held", graph=owner_of(weight))
    change = Same() if form.alpha == 1.0 else Affine(scale=np.array(form.alpha, np.float32))
    editor.map(held.name or "", Mapped(change.then(Permute(form.perm)) if form.moved else change, (weight.name or "",)))
    return held


def _roomy(found: Channels, biases: list[np.ndarray]) -> Channels:
    """Scales so large that no bias leaves int32: a channel of next to no weights would have them next to nothing."""
    least = np.max([np.abs(bias) / _LARGEST_BIAS for bias in biases], axis=0).astype(np.float32) if biases else np.zeros(1, np.float32)
    if found.scale.size == 1:
        least = least.max(initial=0.0, keepdims=True)
    if np.all(found.scale >= least):
        return found
    scale = np.maximum(found.scale, least)
    values = np.rint(found.values * (found.scale / scale.astype(np.float64))[:, None]).astype(np.int8)
    return Channels(values, scale)
