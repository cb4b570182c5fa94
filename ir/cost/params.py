"""Which constants are parameters, and how many.

Parameters are floating-point constants of rank 1 and up, and quantized weights in 2 to 8 bits (packed ones by what they
hold) with their 32-bit biases. Not parameters: scales and zero points of quantization, scalars, and integers and booleans
that say where rather than how much (shapes, axes, indices, masks).
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir
from onnx_ir import DataType

from netwright.ir.opinfo import FLOATS, INTEGERS, SMALL_FLOATS, bits_of, int_attr, schema_of
from netwright.ir.program import Program, constant
from netwright.ir.schemas import CONTRIB_DOMAIN

_QUANTIZED_OPERATORS = frozenset(
    """ConvInteger DequantizeLinear DynamicQuantizeLSTM DynamicQuantizeLinear DynamicQuantizeMatMul GatherBlockQuantized MatMulInteger
    MatMulIntegerToFloat MatMulNBits QAttention QEmbedLayerNormalization QGemm QLinearAdd QLinearAveragePool QLinearConcat QLinearConv
    QLinearGlobalAveragePool QLinearLeakyRelu QLinearMatMul QLinearMul QLinearSigmoid QLinearSoftmax QLinearWhere
    QuantizeLinear""".split()  # noqa: SIM905 - a list reads worse
)
_SCALE_OR_ZERO_POINT = ("scale", "scales", "zero_point", "zero_points")
_NOT_WEIGHTS = {
    ("Resize", 1),
    ("Resize", 2),
    ("Upsample", 1),
    ("Clip", 1),
    ("Clip", 2),
    ("Pad", 2),
    ("Range", 0),
    ("Range", 1),
    ("Range", 2),
}
_WITH_INTEGER_BIAS = ("DequantizeLinear", "QLinearConv", "QGemm")
_STORED_BITS = SMALL_FLOATS | {dtype for dtype in INTEGERS if bits_of(dtype) <= 8}


def parameters(program: Program) -> dict[onnx_ir.Value, int]:
    """The program's parameters: constant values (initializers and outputs of Constant nodes) → number of elements."""
    found: dict[onnx_ir.Value, int] = {}
    for value in _constants(program):
        count = parameter_elements(value)
        if count:
            found[value] = count
    return found


def parameter_elements(value: onnx_ir.Value) -> int:
    """How many parameters a constant value holds; 0 where it is none."""
    tensor = constant(value) or value.const_value
    if tensor is None or len(tensor.shape) == 0:
        return 0
    uses = value.uses()
    if uses and all(_is_scale(use.node, use.idx) for use in uses):
        return 0
    if tensor.dtype in FLOATS:
        return tensor.size
    if tensor.dtype in _STORED_BITS:
        return max([_unpacked(use.node, use.idx, tensor) for use in uses], default=tensor.size)
    quantized_bias = tensor.dtype == DataType.INT32 and any(
        use.node.op_type in ("DequantizeLinear", "QLinearConv", "QGemm") for use in uses
    )
    return tensor.size if quantized_bias else 0


def _constants(program: Program) -> Iterator[onnx_ir.Value]:
    for graph in program.graphs():
        yield from graph.initializers.values()
        for node in graph:
            if node.op_type == "Constant" and not node.domain:
                yield node.outputs[0]


def _is_scale(node: onnx_ir.Node, index: int) -> bool:
    """True where an input is a scale or zero point, or one of the few float inputs that steer rather than weigh."""
    if (node.op_type, index) in _NOT_WEIGHTS and not node.domain:
        return True
    if node.op_type in _QUANTIZED_OPERATORS:
        known = schema_of(node.domain, node.op_type, node.version or 28)
        name = known.input(index).name if known else ""
        return name.endswith(_SCALE_OR_ZERO_POINT)
    return node.op_type == "Mul" and any(_is_dynamic_scale(other) for other in node.inputs)


def _is_dynamic_scale(value: onnx_ir.Value | None) -> bool:
    """True of DynamicQuantizeLinear's scale, and of integer products on the way to float: what meets them by Mul is a scale."""
    node = value.producer() if value is not None else None
    if node is None or value is None:
        return False
    if node.op_type == "DynamicQuantizeLinear":
        return value.index() == 1
    if node.op_type == "Cast" and node.inputs[0] is not None:
        node = node.inputs[0].producer()
        return node is not None and node.op_type in ("MatMulInteger", "ConvInteger")
    return False


def _unpacked(node: onnx_ir.Node, index: int, tensor: onnx_ir.TensorProtocol) -> int:
    """Elements that a packed weight holds."""
    if node.domain != CONTRIB_DOMAIN or tensor.dtype != DataType.UINT8:
        return tensor.size
    if node.op_type == "MatMulNBits" and index == 1:
        return int_attr(node, "N", 0) * int_attr(node, "K", 0)
    if node.op_type == "GatherBlockQuantized" and index == 0:
        return tensor.size * 8 // int_attr(node, "bits", 4)
    return tensor.size
