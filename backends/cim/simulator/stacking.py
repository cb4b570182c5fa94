"""Whether samples may go through a region together and come out with the same bits as one after the other.

Integers, comparisons, movements and single float operations do not care. Sums of floats do: their order may depend on how many rows
a kernel has at hand (ONNX Runtime multiplies one row by another kernel than many). So do functions computed several elements at a
time, whose last few elements take another way, unless a sample's elements fill whole vectors.
"""

from __future__ import annotations

from math import prod

import onnx_ir

from netwright.ir.program import Program
from netwright.ir.shapes import infer, shape_of

SUMS = frozenset(
    (
        "Attention",
        *("AveragePool", "Conv", "ConvTranspose", "CumSum", "DeformConv", "Einsum", "Gemm", "GlobalAveragePool", "GlobalLpPool"),
        *("GroupNormalization", "GRU", "InstanceNormalization", "LpNormalization", "LpPool", "LRN", "LSTM", "MatMul"),
        *("MeanVarianceNormalization", "QAttention", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean", "ReduceProd"),
        *("ReduceSum", "ReduceSumSquare", "Resize", "RNN", "ScatterElements", "ScatterND", "MultiHeadAttention", "FusedMatMul"),
    )
)
"""Operators that add floats up, in an order of the kernel's choice."""
ROUNDED = frozenset(
    (
        *("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BiasGelu", "Celu", "Cos", "Cosh", "Elu", "Erf", "Exp", "FastGelu", "Gelu"),
        *("HardSwish", "Log", "Mish", "Pow", "QuickGelu", "Selu", "Sigmoid", "Sin", "Sinh", "Softplus", "Softsign", "Swish", "Tan", "Tanh"),
    )
)
"""Functions that are computed several elements at a time."""
VECTOR = 64
"""Elements that fill whole vectors of any width."""
_FLOATS = (onnx_ir.DataType.FLOAT, onnx_ir.DataType.FLOAT16, onnx_ir.DataType.DOUBLE, onnx_ir.DataType.BFLOAT16)


def stackable(program: Program) -> bool:
    """True where every operator gives a sample the same bits, whatever samples are beside it."""
    infer(program)
    return all(_indifferent(node) for node in program.nodes())


def _indifferent(node: onnx_ir.Node) -> bool:
    made = node.outputs[0]
    if made.dtype is not None and made.dtype not in _FLOATS:
        return True
    if node.op_type in SUMS:
        return False
    if node.op_type not in ROUNDED:
        return True
    shape = shape_of(made)
    return shape is not None and prod(size if isinstance(size, int) else 1 for size in shape) % VECTOR == 0
