"""Whole-number arithmetic in standard operators, int64 throughout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir

from netwright.backends.cim.ops.building import Body

_INT64 = int(onnx_ir.DataType.INT64)


class Whole:
    """Writes int64 arithmetic into a body.

    Args:
        body: where to.
    """

    def __init__(self, body: Body) -> None:
        self.body = body

    def known(self, value: onnx_ir.Value | int | Sequence[int] | np.ndarray) -> onnx_ir.Value:
        """A value as it is; numbers as int64 constants."""
        return value if isinstance(value, onnx_ir.Value) else self.body.constant(np.asarray(value, np.int64))

    def of(self, value: onnx_ir.Value) -> onnx_ir.Value:
        """As int64."""
        return self.body.op("Cast", [value], {"to": _INT64})

    def cast(self, value: onnx_ir.Value, dtype: str) -> onnx_ir.Value:
        """As another type, by numpy's name."""
        return self.body.op("Cast", [value], {"to": int(onnx_ir.DataType[dtype.upper()])})

    def two(self, op_type: str, a: onnx_ir.Value, b: onnx_ir.Value | int | Sequence[int] | np.ndarray) -> onnx_ir.Value:
        """An operator of two operands."""
        return self.body.op(op_type, [a, self.known(b)])

    def clip(self, value: onnx_ir.Value, low: int, high: int) -> onnx_ir.Value:
        """Kept between two numbers."""
        return self.two("Min", self.two("Max", value, low), high)

    def where(self, condition: onnx_ir.Value, a: onnx_ir.Value | int | np.ndarray, b: onnx_ir.Value | int | np.ndarray) -> onnx_ir.Value:
        """Chosen element by element."""
        return self.body.op("Where", [condition, self.known(a), self.known(b)])

    def sum(self, value: onnx_ir.Value, axes: Sequence[int], *, keep: bool = False) -> onnx_ir.Value:
        """Summed over axes."""
        return self.body.op("ReduceSum", [value, self.known(list(axes))], {"keepdims": int(keep)})

    def reshape(self, value: onnx_ir.Value, shape: Sequence[int]) -> onnx_ir.Value:
        """Reshaped; −1 once for what is left, 0 for the axis as it is."""
        return self.body.op("Reshape", [value, self.known(list(shape))])

    def transpose(self, value: onnx_ir.Value, perm: Sequence[int]) -> onnx_ir.Value:
        """Axes in another order."""
        return self.body.op("Transpose", [value], {"perm": list(perm)})

    def pad_end(self, value: onnx_ir.Value, rank: int, axis: int, count: int) -> onnx_ir.Value:
        """Zeros after an axis."""
        if count == 0:
            return value
        pads = [0] * (2 * rank)
        pads[rank + axis] = count
        return self.body.op("Pad", [value, self.known(pads)])

    def rhe(self, numerator: onnx_ir.Value, denominator: onnx_ir.Value | int) -> onnx_ir.Value:
        """The quotient to the nearest integer, half-way cases to the even one; the denominator is positive."""
        if denominator == 1:
            return numerator
        under = self.known(denominator)
        rest = self.two("Mod", numerator, under)
        quotient = self.two("Div", self.two("Sub", numerator, rest), under)
        twice = self.two("Mul", rest, 2)
        tie_up = self.two("And", self.two("Equal", twice, under), self.two("Equal", self.two("Mod", quotient, 2), 1))
        up = self.body.op("Or", [self.two("Greater", twice, under), tie_up])
        return self.two("Add", quotient, self.of(up))
