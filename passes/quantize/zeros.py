"""Zero points of QuantizeLinear and DequantizeLinear, left out or not; with them, the type of the integers."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.opinfo import int_attr
from netwright.ir.program import array


def zero_points(node: onnx_ir.Node, *, limit: int | None = None) -> np.ndarray | None:
    """A converter's zero point, of the integers' type; None where it is computed.

    Without one it is 0: of the type that `output_dtype` names (from opset 21), else uint8; of a DequantizeLinear, of what it reads.

    Args:
        node: a QuantizeLinear or DequantizeLinear.
        limit: give up on more elements than this.
    """
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if given is not None:
        return array(given, limit=limit)
    if node.op_type == "DequantizeLinear":
        read = node.inputs[0].dtype if node.inputs[0] is not None else None
        code = onnx_ir.DataType.UINT8 if read is None else read
    else:
        code = onnx_ir.DataType(int_attr(node, "output_dtype", 0) or onnx_ir.DataType.UINT8)
    return np.zeros((), code.numpy())
