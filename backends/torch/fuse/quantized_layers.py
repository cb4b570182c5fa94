"""Layers of dequantized operands: what of them an integer kernel takes, and what computes in torch as it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import onnx_ir

from netwright.backends.torch.attributes import plain
from netwright.backends.torch.fuse.pattern import rank
from netwright.backends.torch.ops.requantized import requantized_conv, requantized_product
from netwright.backends.torch.ops.requantized_sums import requantized_mean, requantized_sum
from netwright.ir.opinfo import float_attr, int_attr
from netwright.ir.program import constant
from netwright.passes.quantize.folding.means import is_global
from netwright.passes.simplify.match import producer

Keyword = bool | int | float | str | tuple[int, ...] | None

_CONV = ("auto_pad", "dilations", "group", "pads", "strides")


@dataclass(frozen=True, slots=True)
class Operand:
    """A dequantized value.

    Attributes:
        integers: what is dequantized.
        scale: float32.
        zero: the integer of 0.
        axis: of the scale; None where there is one for all.
    """

    integers: onnx_ir.Value
    scale: onnx_ir.Value
    zero: onnx_ir.Value | None
    axis: int | None

    @property
    def values(self) -> tuple[onnx_ir.Value | None, ...]:
        """As the functions of `requantized` take them."""
        return self.integers, self.scale, self.zero


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer whose operands are all dequantized.

    Attributes:
        function: computes it on integers.
        operands: as the function takes them.
        bias: what a convolution or Gemm adds.
        keywords: what the function takes by name.
    """

    function: Callable[..., object]
    operands: tuple[Operand, ...]
    bias: onnx_ir.Value | None
    keywords: Mapping[str, Keyword]


def layer_of(node: onnx_ir.Node) -> Layer | None:
    """The layer that a node is; None where its operands are not all dequantized, or in a way that no integer kernel takes."""
    make = LAYERS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    found = None if make is None else make(node)
    return found if found is not None and all(one.scale.dtype is onnx_ir.DataType.FLOAT for one in found.operands) else None


def is_single(value: onnx_ir.Value) -> bool:
    """True of a value of one element."""
    return value.shape is not None and all(dim == 1 for dim in value.shape)


def _convolution(node: onnx_ir.Node) -> Layer | None:
    x, w = _operand(node.inputs[0]), _operand(node.inputs[1])
    if x is None or w is None or x.axis is not None or w.axis not in (None, 0):
        return None
    given = {name: plain(node.attributes[name]) for name in _CONV if name in node.attributes}
    keywords: dict[str, Keyword] = {}
    for name, value in given.items():
        if isinstance(value, tuple):
            keywords[name] = tuple(one for one in value if isinstance(one, int))
        else:
            keywords[name] = value
    return Layer(requantized_conv, (x, w), node.inputs[2] if len(node.inputs) > 2 else None, keywords)


def _gemm(node: onnx_ir.Node) -> Layer | None:
    x, w = _operand(node.inputs[0]), _operand(node.inputs[1])
    transposed = bool(int_attr(node, "transB", 0))
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if x is None or w is None or x.axis is not None or w.axis not in (None, 0 if transposed else 1) or int_attr(node, "transA", 0):
        return None
    if float_attr(node, "alpha", 1.0) != 1.0 or float_attr(node, "beta", 1.0) != 1.0 or (bias is not None and rank(bias) != 1):
        return None
    return Layer(requantized_product, (x, w), bias, {"transposed": transposed})


def _product(node: onnx_ir.Node) -> Layer | None:
    x, w = _operand(node.inputs[0]), _operand(node.inputs[1])
    last = (rank(node.inputs[1]) or 0) - 1
    if x is None or w is None or x.axis is not None or last < 1 or w.axis not in (None, last):
        return None
    return Layer(requantized_product, (x, w), None, {})


def _sum(node: onnx_ir.Node) -> Layer | None:
    a, b = _operand(node.inputs[0]), _operand(node.inputs[1])
    if a is None or b is None or a.axis is not None or b.axis is not None:
        return None
    if any(constant(one.integers) is not None or one.integers.producer() is None for one in (a, b)):
        return None
    return Layer(requantized_sum, (a, b), None, {})


def _mean(node: onnx_ir.Node) -> Layer | None:
    x = _operand(node.inputs[0])
    return None if x is None or x.axis is not None or (rank(node.inputs[0]) or 0) < 3 else Layer(requantized_mean, (x,), None, {})


def _reduced(node: onnx_ir.Node) -> Layer | None:
    found = _mean(node) if is_global(node) else None
    return None if found is None else replace(found, keywords={"keepdims": bool(int_attr(node, "keepdims", 1))})


LAYERS: Mapping[str, Callable[[onnx_ir.Node], Layer | None]] = MappingProxyType(
    {"Conv": _convolution, "Gemm": _gemm, "MatMul": _product, "Add": _sum, "GlobalAveragePool": _mean, "ReduceMean": _reduced}
)
"""By operator."""


def _operand(value: onnx_ir.Value | None) -> Operand | None:
    """What a DequantizeLinear makes real, without blocks; of a constant, only through a quantizer or as integers."""
    node = producer(value, "DequantizeLinear")
    if node is None or value is None or int_attr(node, "block_size", 0):
        return None
    integers, scale = node.inputs[0], node.inputs[1]
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    dims = rank(value)
    if integers is None or scale is None or dims is None or integers.dtype is None or not integers.dtype.is_integer():
        return None
    if is_single(scale):
        return Operand(integers, scale, zero, None)
    return Operand(integers, scale, zero, int_attr(node, "axis", 1) % dims) if rank(scale) == 1 else None
