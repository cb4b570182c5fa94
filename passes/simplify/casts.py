"""Chains of casts, and masks computed by arithmetic on casts."""

from __future__ import annotations

import numpy as np
import onnx_ir
from onnx_ir import DataType

from netwright.ir.editor import Editor, reader_count
from netwright.ir.opinfo import int_attr, is_float, is_integer
from netwright.ir.program import Program
from netwright.passes.numerics import Close
from netwright.passes.rewrite import Rewrite
from netwright.passes.rules import rule
from netwright.passes.simplify.facts import is_scalar, producer, splat, uniform

_MANTISSA = {DataType.FLOAT16: 11, DataType.BFLOAT16: 8, DataType.FLOAT: 24, DataType.DOUBLE: 53}
_EXPONENT = {DataType.FLOAT16: 5, DataType.BFLOAT16: 8, DataType.FLOAT: 8, DataType.DOUBLE: 11}
_INTEGER_BITS = {DataType.INT8: 7, DataType.INT16: 15, DataType.INT32: 31, DataType.INT64: 63}
_UNSIGNED_BITS = {DataType.UINT8: 8, DataType.UINT16: 16, DataType.UINT32: 32, DataType.UINT64: 64}


def holds_all(wide: DataType, narrow: DataType) -> bool:
    """True where every value of type `narrow` has its exact counterpart in type `wide`."""
    if wide == narrow or narrow == DataType.BOOL:
        return wide != DataType.BOOL or narrow == DataType.BOOL
    bits = _INTEGER_BITS.get(narrow, _UNSIGNED_BITS.get(narrow))
    if bits is not None and is_integer(wide):
        if wide in _UNSIGNED_BITS:
            return narrow in _UNSIGNED_BITS and bits <= _UNSIGNED_BITS[wide]
        return bits <= _INTEGER_BITS.get(wide, -1)
    if bits is not None:
        return bits <= _MANTISSA.get(wide, 0) and bits < 2 ** (_EXPONENT.get(wide, 1) - 1)
    if is_float(narrow) and is_float(wide):
        return _MANTISSA[narrow] <= _MANTISSA[wide] and _EXPONENT[narrow] <= _EXPONENT[wide]
    return False


@rule("Cast")
def merge_casts(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A cast of a cast that lost nothing: cast the source. bool → number → bool is the source itself, so found."""
    inner = producer(node.inputs[0], "Cast")
    source = inner.inputs[0] if inner is not None else None
    middle = node.inputs[0].dtype if node.inputs[0] is not None else None
    if source is None or source.dtype is None or middle is None or not holds_all(middle, source.dtype):
        return None
    to = int_attr(node, "to", 0)
    if DataType(to) in (DataType.STRING, DataType.UNDEFINED) or "saturate" in node.attributes:
        return None
    out = node.outputs[0]
    return Rewrite.build(
        node, lambda editor: editor.op("Cast", [source], {"to": to}, like=out), why=f"cast by way of {middle.name.lower()}"
    )


@rule("Mul", numerics=Close(rtol=0.0, atol=0.0))
def mask_to_where(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """`(1 − cast(mask)) · c` is `where(mask, 0, c)`, and `cast(mask) · c` is `where(mask, c, 0)`, for a finite c."""
    a, b = node.inputs[:2]
    out = node.outputs[0]
    for value, factor in ((a, b), (b, a)):
        if value is None or factor is None or not is_scalar(factor) or reader_count(value) != 1:
            continue
        scale = splat(factor)
        mask, inverted = _mask_behind(value)
        if mask is None or scale is None or not is_float(factor.dtype) or not bool(np.isfinite(scale)):
            continue
        zero = np.zeros((), scale.dtype)

        def make(
            editor: Editor, mask: onnx_ir.Value = mask, inverted: bool = inverted, at: onnx_ir.Value = factor, zero: np.ndarray = zero
        ) -> onnx_ir.Value:
            nothing = editor.constant(zero, "zero")
            return editor.op("Where", [mask, nothing, at] if inverted else [mask, at, nothing], like=out)

        return Rewrite.build(node, make, why="arithmetic on a mask")
    return None


def _mask_behind(value: onnx_ir.Value) -> tuple[onnx_ir.Value | None, bool]:
    """The boolean value of which a value is the cast, or one minus the cast, and which of the two."""
    inverted = False
    subtraction = producer(value, "Sub")
    if subtraction is not None:
        one = uniform(subtraction.inputs[0])
        if one is None or one != 1 or not is_scalar(subtraction.inputs[0]):
            return None, False
        inner = subtraction.inputs[1]
        if inner is None:
            return None, False
        value, inverted = inner, True
    cast = producer(value, "Cast")
    source = cast.inputs[0] if cast is not None else None
    if source is None or source.dtype != DataType.BOOL:
        return None, False
    return source, inverted


RULES = (merge_casts, mask_to_where)
