"""What a QDQ graph says: integers behind a DequantizeLinear, and the QuantizeLinear that reads a value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.opinfo import int_attr, is_standard
from netwright.ir.program import array
from netwright.passes.quantize.zeros import zero_points
from netwright.passes.simplify.facts import producer, sole_use

LIMITS = {"uint8": (0, 255), "int8": (-128, 127)}
"""Least and greatest value of the bytes that arrays take."""

_STATIC = "quantize(scheme='static')"


class NoProduct(Exception):
    """A node is no product for crossbars; the message says why, as a Miss does."""


@dataclass(frozen=True, slots=True)
class Integers:
    """A tensor as integers: real = (integers − zero) · scale.

    Attributes:
        value: the integers.
        scale: float32 scalar or vector along `axis`.
        zero: int64, as the scale's shape.
        axis: of a scale that is a vector.
    """

    value: onnx_ir.Value
    scale: np.ndarray
    zero: np.ndarray
    axis: int

    @property
    def dtype(self) -> str:
        """Numpy's name of the integers' type."""
        return "" if self.value.dtype is None else self.value.dtype.numpy().name


@dataclass(frozen=True, slots=True)
class Grid:
    """What a QuantizeLinear makes of a value: q = saturate(rhe(x / scale) + zero), kept between low and high.

    Attributes:
        value: the integers.
        scale: float32 scalar.
        zero: zero point.
        low: least integer, a folded Relu or Clip included.
        high: greatest integer.
        dtype: `uint8` or `int8`.
    """

    value: onnx_ir.Value
    scale: np.float32
    zero: int
    low: int
    high: int
    dtype: str


@dataclass(frozen=True, slots=True)
class Weights:
    """A product's weights as arrays hold them: real = (held − rest) · scale.

    Attributes:
        value: the integers in the graph.
        held: int8, of their shape.
        scale: float32, one or one for each output.
        rest: int64, likewise: what is left of the zero points.
        form: empty where `held` is the value as it is; else what was taken from it.
    """

    value: onnx_ir.Value
    held: np.ndarray
    scale: np.ndarray
    rest: np.ndarray
    form: str

    @property
    def moved(self) -> str:
        """How the zero points are dealt with, for reasons; empty where there are none."""
        left = f" for zero points up to {int(np.abs(self.rest).max())}" if self.rest.any() else ""
        return f" {self.form}{left}" if self.form else ""


def integers(value: onnx_ir.Value | None, what: str, remedy: str = f"{_STATIC} first") -> Integers:
    """The integers behind a DequantizeLinear.

    Args:
        value: what a product reads.
        what: what to call it.
        remedy: for a value that is not quantized.

    Raises:
        NoProduct: the value is no such thing, or its scale or zero point is not constant.
    """
    node = producer(value, "DequantizeLinear")
    if node is None or node.inputs[0] is None:
        raise NoProduct(f"{what} is not quantized: %{value.name if value is not None else ''} is {_kind(value)}; {remedy}")
    scale = array(node.inputs[1])
    zero = zero_points(node)
    if scale is None or zero is None:
        raise NoProduct(f"the scale or zero point of {what} is not constant: quantize the float model with {_STATIC}")
    if int_attr(node, "block_size", 0):
        raise NoProduct(f"{what} has scales by blocks of {int_attr(node, 'block_size', 0)}: quantize the float model with {_STATIC}")
    zeros = np.broadcast_to(zero.astype(np.int64), scale.shape) if zero.size == 1 else zero.astype(np.int64)
    return Integers(node.inputs[0], scale, zeros, int_attr(node, "axis", 1))


def activation(value: onnx_ir.Value | None, remedy: str = f"{_STATIC} first") -> tuple[Integers, np.float32, int]:
    """A product's input: bytes with one scale and zero point. `remedy`: as of `integers`.

    Raises:
        NoProduct: it is something else.
    """
    found = integers(value, "the input", remedy)
    if found.scale.size != 1:
        raise NoProduct(f"the input has {found.scale.size} scales, and an array's row takes one: quantize the float model with {_STATIC}")
    if found.dtype not in LIMITS:
        raise NoProduct(f"the input is {found.dtype or 'of unknown type'}, not bytes: quantize the float model with {_STATIC}")
    return found, np.float32(found.scale.reshape(-1)[0]), int(found.zero.reshape(-1)[0])


def weight(value: onnx_ir.Value | None, axis: int) -> Weights:
    """A product's weights: constant bytes, with scales and zero points for the whole or along `axis`.

    Raises:
        NoProduct: it is something else.
    """
    found = integers(value, "the weight")
    data = array(found.value)
    if data is None:
        raise NoProduct(
            "both operands are computed: of such products MatMul alone is written to arrays: make the weights initializers, or use MatMul"
        )
    if found.dtype not in LIMITS:
        raise NoProduct(f"the weight is {found.dtype or 'of unknown type'}, not int8 or uint8: quantize the float model with {_STATIC}")
    scale = found.scale.reshape(-1)
    axis %= max(data.ndim, 1)
    if scale.size > 1 and found.axis % data.ndim != axis:
        raise NoProduct(
            f"the weight has scales along axis {found.axis}, and outputs lie along axis {axis}: quantize the float model with {_STATIC}"
        )
    held, rest, form = around_zero(data, found.zero.reshape(-1), axis)
    return Weights(found.value, held, scale, rest, form)


def around_zero(data: np.ndarray, zero: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Weights with zero points as int8: less these where that fits, else less 128 where they are uint8.

    Args:
        data: uint8 or int8.
        zero: int64, one or one for each output.
        axis: the outputs'.

    Returns:
        int8 of the data's shape; int64 of the zero points', what is left of them; what was taken from the data, empty for nothing.
    """
    if data.dtype == np.int8 and not zero.any():
        return data, zero, ""
    least, most = LIMITS["int8"]
    spread = zero.reshape([-1 if place == axis % data.ndim else 1 for place in range(data.ndim)])
    whole = data.astype(np.int16) - spread.astype(np.int16)
    if not whole.size or (whole.min() >= least and whole.max() <= most):
        taken = f"{zero[0]}" if (zero == zero[0]).all() else f"zero points {zero.tolist()}"
        return whole.astype(np.int8), np.zeros_like(zero), f"less {taken}"
    if data.dtype == np.int8:
        return data, zero, "with a column of ones"
    return (data.astype(np.int16) + least).astype(np.int8), zero + least, f"less {-least}, with a column of ones"


def grid_of(value: onnx_ir.Value) -> Grid | None:
    """The one QuantizeLinear that reads a value, directly or through a Relu or Clip; None where there is another reader, or none."""
    reader = sole_use(value)
    bounds = (-np.inf, np.inf)
    if reader is not None and is_standard(reader, "Relu", "Clip"):
        found = _bounds(reader)
        if found is None:
            return None
        bounds, value = found, reader.outputs[0]
        reader = sole_use(value)
    if reader is None or not is_standard(reader, "QuantizeLinear") or reader.inputs[0] is not value:
        return None
    scale = array(reader.inputs[1])
    zero = zero_points(reader)
    if scale is None or zero is None or scale.size != 1 or zero.dtype.name not in LIMITS or int_attr(reader, "block_size", 0):
        return None
    step, zero_point = np.float32(scale.reshape(-1)[0]), int(zero.reshape(-1)[0])
    low, high = (_quantized(bound, step, zero_point, zero.dtype.name) for bound in bounds)
    return Grid(reader.outputs[0], step, zero_point, low, high, zero.dtype.name)


def _bounds(node: onnx_ir.Node) -> tuple[float, float] | None:
    if node.op_type == "Relu":
        return 0.0, np.inf
    found: list[float] = []
    for index, default in ((1, -np.inf), (2, np.inf)):
        given = node.inputs[index] if len(node.inputs) > index else None
        bound = array(given, limit=1) if given is not None else np.array(default)
        if bound is None:
            return None
        found.append(float(bound.reshape(-1)[0]))
    return found[0], found[1]


def _quantized(bound: float, scale: np.float32, zero: int, dtype: str) -> int:
    """What a bound becomes on the grid: quantizing is monotone, so that clipping before and after are the same."""
    least, most = LIMITS[dtype]
    if np.isinf(bound):
        return least if bound < 0 else most
    return int(np.clip(np.rint(np.float32(bound) / scale) + zero, least, most))


def _kind(value: onnx_ir.Value | None) -> str:
    if value is None:
        return "left out"
    node = value.producer()
    if node is None:
        return "constant" if value.is_initializer() else "an input"
    return f"made by {node.op_type}"
