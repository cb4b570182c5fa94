"""`Requantize`: bytes of sums, as ONNX Runtime's integer kernels make them.

acc: int32 [..., J], bias: int32 [J], multiplier: float32 [J] → bytes [..., J]:

    y = clip(rhe(float32(acc + bias) · multiplier) + zero_point, low, high)

in float32, rounding half to even. Source: the output stages of ONNX Runtime's QLinearConv, QLinearMatMul and QGemm.
"""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.backends.cim.ops.building import Body
from netwright.backends.cim.ops.schemas import REQUIRED, schema
from netwright.ir.errors import UnsupportedModelError
from netwright.ir.operators import Operator
from netwright.ir.opinfo import int_attr, site, str_attr
from netwright.ir.shape_context import Context
from netwright.ir.shape_rules.common import required, set_output

REQUANTIZE = "Requantize"

SCHEMA = schema(
    REQUANTIZE,
    "acc:I bias:I multiplier:F",
    "y:Y",
    {
        "zero_point": ("INT", 0),
        "low": ("INT", REQUIRED),
        "high": ("INT", REQUIRED),
        "dtype": ("STRING", REQUIRED),
    },
)

LIMITS = {"uint8": (0, 255), "int8": (-128, 127)}
"""Least and greatest value by type."""


def dtype_of(node: onnx_ir.Node) -> str:
    """The type of a `Requantize`'s result.

    Raises:
        UnsupportedModelError: it is none that the operator gives.
    """
    name = str_attr(node, "dtype", "")
    if name not in LIMITS:
        raise UnsupportedModelError(f"Requantize gives uint8 or int8, not {name!r}.", place=site(node))
    return name


def infer(context: Context, node: onnx_ir.Node) -> None:
    """The shape rule: the sums' shape, the attribute's type."""
    acc, _, _ = required(node, 3)
    set_output(context, node.outputs[0], None if acc.shape is None else acc.shape.dims, onnx_ir.DataType[dtype_of(node).upper()])


def expand(node: onnx_ir.Node) -> onnx_ir.Graph:
    """Add, Cast, Mul, and a QuantizeLinear of scale 1, which rounds half to even and saturates; Clip where the limits are narrower."""
    dtype = dtype_of(node)
    body = Body("acc", "bias", "multiplier")
    acc, bias, multiplier = (body.input(index) for index in range(3))
    total = body.op("Add", [acc, bias])
    scaled = body.op("Mul", [body.op("Cast", [total], {"to": int(onnx_ir.DataType.FLOAT)}), multiplier])
    zero = body.constant(np.array(int_attr(node, "zero_point", 0), dtype))
    result = body.op("QuantizeLinear", [scaled, body.constant(np.array(1, np.float32)), zero])
    low, high = int_attr(node, "low", 0), int_attr(node, "high", 0)
    if (low, high) != LIMITS[dtype]:
        result = body.op("Clip", [result, body.constant(np.array(low, dtype)), body.constant(np.array(high, dtype))])
    return body.finish(result, REQUANTIZE)


OPERATOR = Operator(SCHEMA, infer, expand)
