"""Steps of quantizers that are learned: which constants they are, and what a trained parameter says of them.

A QuantizeLinear whose result goes to a DequantizeLinear rounds to multiples of its scale, the step, and the step is learned beside the
weights (LSQ: Esser et al., arXiv 1902.08153). What the optimizer sees is the logarithm of its ratio to the step that there was,
`s = s₀ · exp(δ)`: the step stays positive wherever δ goes, is s₀ to the bit while δ is 0, and one learning rate, which is then
relative, suits steps of all sizes. The gradient is LSQ's: that of s, times `1 / √(N · Q)` for N numbers that share the step and Q
integers to a side; divided by s, plain gradient descent moves s itself as it does there, to first order.

The scale of stored integers is such a step, too, wherever it stands: of a quantized table of embeddings, of a product of integers.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir
import torch
from torch import Tensor

from netwright.backends.torch.stored_scales import scales_stored, stored_integers
from netwright.ir.program import constant
from netwright.passes.simplify.match import producer

_SCALE = 1
_STORED = 127
"""Integers to a side, of weights that are stored."""


def is_step(value: onnx_ir.Value) -> bool:
    """True of a float32 initializer that is the scale of quantizers and of what dequantizes their results, and of nothing else.

    So is what multiplies stored integers, see `stored_scales`.

    Where integers are in the graph that were made for the steps that there are (weights, and biases in steps of two scales' product),
    it is none: they would mean something else beside another step.
    """
    tensor = value.const_value
    uses = list(value.uses())
    if tensor is None or tensor.dtype is not onnx_ir.DataType.FLOAT or value.is_graph_input() or not uses:
        return False
    if scales_stored(value):
        return is_positive(tensor)
    readers = [use.node for use in uses]
    if any(use.idx != _SCALE or use.node.domain not in ("", "ai.onnx") for use in uses):
        return False
    if not all(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in readers) or not any(_rounds(node) for node in readers):
        return False
    if any(node.op_type == "DequantizeLinear" and not _follows(node) for node in readers):
        return False
    return is_positive(tensor)


def is_positive(tensor: onnx_ir.TensorProtocol) -> bool:
    """True of numbers that are all above 0, and finite: what has a logarithm."""
    array = tensor.numpy()
    return bool(array.size) and bool(np.isfinite(array).all()) and bool((array > 0).all())


def gradient_factor(value: onnx_ir.Value) -> float:
    """LSQ's factor on the gradient of a step: `1 / √(N · Q)`.

    N counts the elements that share the step: of a weight all; of an activation those of one row of the batch, as far as its shape is
    known.

    Args:
        value: for which `is_step` holds.
    """
    quantizer = next((use.node for use in value.uses() if _rounds(use.node)), None)
    if quantizer is None:
        count = 1 if value.const_value is None else value.const_value.size
        return 1.0 / math.sqrt(max(1.0, stored_integers(value) / count) * _STORED)
    source = quantizer.inputs[0]
    dims = [dim if isinstance(dim, int) else 1 for dim in (() if source is None or source.shape is None else source.shape)]
    if constant(source) is None and len(dims) > 1:
        dims = dims[1:]
    size = 1 if value.const_value is None else value.const_value.size
    top = _integers_to_a_side(quantizer)
    return 1.0 / math.sqrt(max(1.0, math.prod(dims) / size) * top)


def step_value(change: Tensor, first: Tensor) -> Tensor:
    """The step that a parameter stands for: `first · exp(change)`, as it is used and as it is written back.

    Args:
        change: as many numbers as `first` has; of rank 1 where that has rank 0, since parameters of rank 0 cannot be split over processes.
        first: the step as it was.
    """
    return (first * torch.exp(change.reshape(first.shape))).clamp_min(_LEAST)


def step(change: Tensor, first: Tensor, *, factor: float) -> Tensor:
    """A step with LSQ's gradient, for the module's graph.

    Args:
        change: the parameter, 0 where the step is as it was.
        first: the step as it was.
        factor: see `gradient_factor`.
    """
    value = step_value(change.detach(), first)
    return value + (change - change.detach()).reshape(first.shape) * (factor / value)


_LEAST = 1e-30
"""Least step: below, its inverse leaves float32."""


def _rounds(node: onnx_ir.Node) -> bool:
    made = node.outputs[0].dtype
    return node.op_type == "QuantizeLinear" and made is not None and made.is_integer()


def _follows(node: onnx_ir.Node) -> bool:
    """True of a DequantizeLinear of what is computed, which meets no integers that were made for these very steps."""
    if constant(node.inputs[0]) is not None:
        return False
    users = {use.node for use in node.outputs[0].uses()}
    return not any(_is_folded(value) for user in users for value in user.inputs)


def _is_folded(value: onnx_ir.Value | None) -> bool:
    """True of integers of 32 bits that are dequantized: a bias in steps of two scales' product."""
    node = producer(value, "DequantizeLinear")
    tensor = None if node is None else constant(node.inputs[0])
    return tensor is not None and tensor.dtype is onnx_ir.DataType.INT32


def _integers_to_a_side(quantizer: onnx_ir.Node) -> int:
    """How many positive integers (of the larger side) the quantizer has, fewer where a Clip of integers follows."""
    low, high = _bounds(quantizer.outputs[0].dtype)
    for user in (use.node for use in quantizer.outputs[0].uses()):
        if user.op_type == "Clip":
            low, high = (_number(bound, default) for bound, default in zip(user.inputs[1:3], (low, high), strict=False))
    zero = constant(quantizer.inputs[2]) if len(quantizer.inputs) > 2 else None
    middle = 0 if zero is None else int(np.median(zero.numpy().astype(np.int64)))
    return max(1, high - middle, middle - low)


def _bounds(dtype: onnx_ir.DataType | None) -> tuple[int, int]:
    kind = onnx_ir.DataType.UINT8 if dtype is None else dtype
    bits = kind.bitwidth
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if kind.is_signed() else (0, (1 << bits) - 1)


def _number(value: onnx_ir.Value | None, default: int) -> int:
    tensor = constant(value)
    return default if tensor is None else int(tensor.numpy())
