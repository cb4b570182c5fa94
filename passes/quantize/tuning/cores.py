"""What of a static unit runs between quantized neighbours: the kernel without the converters at its borders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir

from netwright.ir.program import Program, constant
from netwright.passes.timing import cut

if TYPE_CHECKING:
    from netwright.passes.context import Feeds


def integer_core(program: Program, feeds: Feeds) -> tuple[Program, Feeds]:
    """The program without the `QuantizeLinear` of its inputs and the `DequantizeLinear` of its outputs, with feeds for it.

        x → Q → [DQ → site → Q] → DQ → y

    Inputs and outputs without them stay as they are. Zeros are fed for integers: what a kernel takes does not depend on values.

    Args:
        program: one unit alone.
        feeds: inputs of it.
    """
    given: list[onnx_ir.Value] = []
    fed: dict[str, np.ndarray] = {}
    for value in program.graph.inputs:
        array = feeds[value.name or ""]
        readers = list(dict.fromkeys(user for user, _ in value.uses()))
        grids = [user for user in readers if is_converter(user, "QuantizeLinear")]
        if not readers or len(grids) < len(readers):
            given.append(value)
            fed[value.name or ""] = array
        for node in grids if len(grids) == len(readers) else ():
            whole = node.outputs[0]
            dtype = whole.dtype or onnx_ir.DataType.UINT8
            whole.shape, whole.type = onnx_ir.Shape(array.shape), onnx_ir.TensorType(dtype)
            given.append(whole)
            fed[whole.name or ""] = np.zeros(array.shape, dtype.numpy())
    results = [_before(value) for value in program.graph.outputs]
    if len(given) == len(program.graph.inputs) and all(mine is its for mine, its in zip(given, program.graph.inputs, strict=True)):
        return program, feeds
    return cut(program, given, list(dict.fromkeys(results))), fed


def is_converter(node: onnx_ir.Node, op_type: str) -> bool:
    """True for a Q or DQ on a constant grid."""
    return node.op_type == op_type and not node.domain and all(constant(value) is not None for value in node.inputs[1:])


def _before(value: onnx_ir.Value) -> onnx_ir.Value:
    node = value.producer()
    if node is None or not is_converter(node, "DequantizeLinear"):
        return value
    source = node.inputs[0]
    return value if source is None or source.producer() is None else source
