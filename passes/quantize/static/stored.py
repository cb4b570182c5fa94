"""Weights and biases of static kernels as constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.maps import Affine, Gone, Mapped, Permute, Same
from netwright.passes.quantize.choice import Static
from netwright.passes.quantize.integers import Channels
from netwright.passes.quantize.record import record, record_bias
from netwright.passes.quantize.rounding import Rounder
from netwright.passes.quantize.static.strides import Stride
from netwright.passes.quantize.weights import float_array, owner_of

_BITS = 8
"""Of the type in which weights lie: those of fewer bits are cut off by a Clip of integers while they are trained."""

_LARGEST_BIAS = float(1 << 30)
"""A bias of more steps would leave no room for the sum."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a weight is to lie.

    Attributes:
        perm: order of its axes.
        axis: that of output channels, in the weight as it is.
        alpha: a factor.
        stride: how taps are laid out anew, where a stride is folded.
    """

    perm: tuple[int, ...]
    axis: int
    alpha: float = 1.0
    stride: Stride | None = None

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
        laid = np.ascontiguousarray(np.moveaxis(matrix.reshape(moved), 0, self.axis).transpose(self.perm))
        return laid if self.stride is None else self.stride.arranged(laid)


@dataclass(frozen=True, slots=True)
class Stored:
    """A weight as constants; each reader dequantizes it where it stands.

    Attributes:
        values: int8, or float32 where it is trained.
        scale: its constant.
        zero: its constant, of zeros.
        axis: of output channels; None for one scale in all.
        steps: the scales, [outputs] or [1].
        trainable: whether `values` have yet to be put on their grid.
        ends: constants between which integers of fewer bits than their type has are kept while they are trained.
    """

    values: onnx_ir.Value
    scale: onnx_ir.Value
    zero: onnx_ir.Value
    axis: int | None
    steps: np.ndarray
    trainable: bool
    ends: tuple[onnx_ir.Value, ...] = ()

    def read(self, editor: Editor) -> onnx_ir.Value:
        """The weight in float32, from its integers, at the insertion point."""
        attributes = {} if self.axis is None else {"axis": self.axis}
        name, integers = self.values.name, self.values
        if self.trainable:
            integers = editor.op("QuantizeLinear", [integers, self.scale, self.zero], attributes, name=f"{name}.integers")
            if self.ends:
                integers = editor.op("Clip", [integers, *self.ends], name=f"{name}.clipped")
        return editor.op("DequantizeLinear", [integers, self.scale, self.zero], attributes, name=f"{name}.dequantized")


@dataclass(slots=True)
class Store:
    """Stores a weight once in each form that its readers need.

    Attributes:
        weight: constant.
        choice: bits, and one scale or many.
        rounder: makes the integers.
        biases: for each reader, its bias in steps of its activation, [outputs]: scales are raised where one would leave int32.
        trainable: keep the weight in float32, and put it on its grid in the graph.
    """

    weight: onnx_ir.Value
    choice: Static
    rounder: Rounder
    biases: list[np.ndarray]
    trainable: bool
    _made: dict[Form, Stored] = field(default_factory=dict[Form, Stored])

    def get(self, editor: Editor, form: Form) -> Stored:
        """The weight in this form."""
        made = self._made.get(form)
        if made is None:
            made = self._made[form] = self._store(editor, form)
        return made

    def _store(self, editor: Editor, form: Form) -> Stored:
        weight, name, graph = self.weight, self.weight.name or "weight", owner_of(self.weight)
        data = float_array(weight)
        found = self.rounder.rows(weight, form.matrix(data), bits=self.choice.bits, per_channel=self.choice.axis != "tensor")
        found = _roomy(found, self.biases)
        steps = found.scale * np.float32(abs(form.alpha))
        integers = found.values if form.alpha > 0 else np.clip(-found.values.astype(np.int16), -128, 127).astype(np.int8)
        per_channel = steps.size > 1
        if self.trainable:
            values = _held(editor, weight, form, data, Channels(integers, steps), self.choice.bits)
        else:
            values = editor.constant(form.stored(integers, data.shape), f"{name}.integers", graph=graph)
            if form.stride is None:
                factors = None if form.alpha == 1.0 else np.array(form.alpha, np.float32)
                record(editor, weight, values, steps, form.axis, factors=factors, perm=form.moved)
            else:
                editor.map(name, Mapped(Gone(f"its taps are those of phases of the input now (%{values.name})"), (name,)))
        scale = editor.constant(steps if per_channel else steps.reshape(()), f"{name}.scale", graph=graph)
        zero = editor.constant(np.zeros(steps.shape if per_channel else (), np.int8), f"{name}.zero_point", graph=graph)
        ends: tuple[onnx_ir.Value, ...] = ()
        if self.trainable and self.choice.bits < _BITS:
            top = (1 << (self.choice.bits - 1)) - 1
            ends = tuple(editor.constant(np.array(end, np.int8), f"{name}.end", graph=graph) for end in (-top, top))
        return Stored(values, scale, zero, form.stored_axis if per_channel else None, steps, self.trainable, ends)


def swap_constant(editor: Editor, node: onnx_ir.Node, index: int, made: onnx_ir.Value) -> None:
    """Have a node read another constant; the one before goes where nobody else reads it."""
    before = node.inputs[index]
    editor.set_input(node, index, made)
    if before is not None and before.is_initializer() and not (before.uses() or before.is_graph_output() or before.is_graph_input()):
        editor.remove_initializer(before)


def store_bias(
    editor: Editor, bias: np.ndarray, scale: np.ndarray, name: str, sources: Sequence[tuple[onnx_ir.Value, float]] = ()
) -> onnx_ir.Value:
    """A bias, [outputs], as int32 in steps of `scale` (that of the activation times that of the weight), behind a DequantizeLinear.

    Args:
        editor: the transaction.
        bias: in real units.
        scale: [outputs] or [1].
        name: of the bias.
        sources: the constants whose sum it is, each with its factor, for the value map.
    """
    per_channel = scale.size > 1
    steps = np.rint(bias.astype(np.float64) / scale.astype(np.float64))
    integers = np.clip(steps, -(1 << 31), (1 << 31) - 1).astype(np.int32)
    held = editor.constant(integers, f"{name}.integers")
    if sources:
        record_bias(editor, sources, held, integers.shape, scale)
    step = editor.constant(scale if per_channel else scale.reshape(()), f"{name}.scale")
    zero = editor.constant(np.zeros(scale.shape if per_channel else (), np.int32), f"{name}.zero_point")
    return editor.op("DequantizeLinear", [held, step, zero], {"axis": 0} if per_channel else {}, name=f"{name}.dequantized")


def _held(editor: Editor, weight: onnx_ir.Value, form: Form, data: np.ndarray, found: Channels, bits: int) -> onnx_ir.Value:
    """The weight in float32 as it is to lie: itself where rounding it to the nearest gives the integers, else the integers times scales."""
    matrix = form.matrix(data) * np.float32(form.alpha)
    column = found.scale[:, None]
    low, high = (-128, 127) if bits == _BITS else (1 - (1 << (bits - 1)), (1 << (bits - 1)) - 1)
    if np.array_equal(np.clip(np.rint(matrix / column), low, high), found.values):
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
