"""From sums to what the graph wants of them: bytes, or floats.

ONNX Runtime's integer kernels compute acc = Σ (x − zx)·w + bias in int32 and then

- QLinearConv, QLinearMatMul, QGemm: saturate(rhe(float(acc) · (sx·sw[j] / sy)) + zy), the factor in float32 in this order;
- MatMulIntegerToFloat: float(acc) · (sx·sw[j]).

The lowered graph does the same: −zx·Σ_k w[k, j] goes into the bias. Weights with zero points zw that arrays do not take in leave

    Σ_k (x − zx)·(w − zw) = Σ_k x·w − zw·Σ_k x − zx·Σ_k (w − zw)

of which Σ_k x comes from a further column of ones. Source: ONNX Runtime's kernels of these names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.backends.cim.lowering.reading import Grid, NoProduct
from netwright.backends.cim.ops.requantize import REQUANTIZE
from netwright.backends.cim.ops.schemas import DOMAIN
from netwright.ir.editor import Editor
from netwright.ir.program import array
from netwright.passes.quantize.zeros import zero_points
from netwright.passes.simplify.facts import producer

ONE = np.float32(1)


@dataclass(frozen=True)
class Scales:
    """What a product's sums mean.

    Attributes:
        name: hint for the names of new values.
        input: scale of the input.
        weight: scales of the weight: one, or one for each output.
        offset: int32 [J], added to the sums: the bias, less what the input's zero point contributes.
    """

    name: str
    input: np.float32
    weight: np.ndarray
    offset: np.ndarray

    @property
    def product(self) -> np.ndarray:
        """sx·sw in float32."""
        return (self.input * self.weight.astype(np.float32)).astype(np.float32)

    def part(self, outputs: slice) -> Scales:
        """Those of some of the outputs."""
        return Scales(self.name, self.input, self.weight[outputs] if self.weight.size > 1 else self.weight, self.offset[outputs])


def offset_of(matrix: np.ndarray, zero: int, bias: np.ndarray | None, rest: np.ndarray | None = None) -> np.ndarray:
    """Bias − zx·Σ_k (w[k, j] − zw[j]), as int32.

    Args:
        matrix: int8 [K, J].
        zero: the input's zero point.
        bias: int32 [J], if any.
        rest: the weights' zero points, one or [J], if any.

    Raises:
        NoProduct: it does not fit 32 bits.
    """
    total = -zero * column_sums(matrix, rest)
    if bias is not None:
        total = total + bias.astype(np.int64)
    if total.size and np.abs(total).max() >= 2**31:
        raise NoProduct(f"bias and zero point add up to {int(np.abs(total).max())}, more than 32 bits hold: leave the bias in floats")
    return total.astype(np.int32)


def column_sums(matrix: np.ndarray, rest: np.ndarray | None) -> np.ndarray:
    """Σ_k (w[k, j] − zw[j]), int64 [J]."""
    total = matrix.sum(axis=0, dtype=np.int64)
    return total if rest is None else total - len(matrix) * rest


def with_ones(matrix: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """The matrix, int8 [K, J], with a column of ones behind it where something is left of zero points: its sums are Σ_k x."""
    return np.hstack([matrix, np.ones((len(matrix), 1), np.int8)]) if rest.any() else matrix


def less_share(editor: Editor, sums: onnx_ir.Value, rest: np.ndarray, outputs: int, name: str) -> onnx_ir.Value:
    """The sums of `with_ones`, less zw·Σ_k x; as they are where nothing is left of zero points."""
    if not rest.any():
        return sums
    sizes = editor.constant(np.array([outputs, 1], np.int64), f"{name}.outputs")
    sums, inputs = editor.ops("Split", [sums, sizes], {"axis": -1}, names=[f"{name}.products", f"{name}.inputs"])
    return editor.op("Sub", [sums, _times(editor, inputs, rest, f"{name}.share")], name=f"{name}.around")


def share(editor: Editor, value: onnx_ir.Value, axis: int, zero: int, name: str) -> onnx_ir.Value:
    """Sums of bytes along an axis, times the other operand's zero point."""
    wide = editor.op("Cast", [value], {"to": int(onnx_ir.DataType.INT32)}, name=f"{name}.wide")
    axes = editor.constant(np.array([axis], np.int64), f"{name}.axis")
    total = editor.op("ReduceSum", [wide, axes], {"keepdims": 1}, name=f"{name}.sum")
    return _times(editor, total, np.array(zero), name)


def _times(editor: Editor, value: onnx_ir.Value, zero: np.ndarray, name: str) -> onnx_ir.Value:
    factor = zero.astype(np.int32)
    factor = factor.reshape(()) if factor.size == 1 else factor
    return editor.op("Mul", [value, editor.constant(factor, f"{name}.zero")], name=name)


def bias_of(node: onnx_ir.Node, scale: np.ndarray, beta: np.float32 = ONE) -> tuple[np.ndarray | None, onnx_ir.Value | None]:
    """The bias of a Conv, or a Gemm's C: as int32 [J], where `beta` times its scale is the product's, or as floats to be added."""
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if given is None:
        return None, None
    found = _integer_bias(given, scale, beta)
    return (found, None) if found is not None else (None, given)


def _integer_bias(value: onnx_ir.Value, scale: np.ndarray, beta: np.float32) -> np.ndarray | None:
    """An int32 bias behind a DequantizeLinear of the product's scale over beta; None where it is something else."""
    node = producer(value, "DequantizeLinear")
    if node is None:
        return None
    data, own, zero = array(node.inputs[0]), array(node.inputs[1]), zero_points(node)
    if data is None or own is None or zero is None or data.dtype != np.int32 or zero.any() or data.size != (data.shape or (1,))[-1]:
        return None
    if own.size not in (1, scale.size) and scale.size != 1:
        return None
    if not np.allclose(beta * own.reshape(-1), scale.reshape(-1), rtol=1e-5, atol=0):
        return None
    return data.reshape(-1)


def to_bytes(editor: Editor, sums: onnx_ir.Value, scales: Scales, grid: Grid) -> onnx_ir.Value:
    """A Requantize of the sums."""
    multiplier = (scales.product / grid.scale).astype(np.float32)
    factors = np.broadcast_to(multiplier, scales.offset.shape).astype(np.float32)
    inputs = [
        sums,
        editor.constant(scales.offset, f"{scales.name}.offset"),
        editor.constant(np.ascontiguousarray(factors), f"{scales.name}.multiplier"),
    ]
    limits = {"zero_point": grid.zero, "low": grid.low, "high": grid.high, "dtype": grid.dtype}
    return editor.op(REQUANTIZE, inputs, limits, domain=DOMAIN, name=f"{scales.name}.bytes")


def to_floats(editor: Editor, sums: onnx_ir.Value, scales: Scales) -> onnx_ir.Value:
    """The sums in float32: offset added in integers, then scaled."""
    total = sums
    if scales.offset.any():
        total = editor.op("Add", [sums, editor.constant(scales.offset, f"{scales.name}.offset")], name=f"{scales.name}.total")
    floats = editor.op("Cast", [total], {"to": int(onnx_ir.DataType.FLOAT)}, name=f"{scales.name}.float")
    factor = scales.product
    return editor.op("Mul", [floats, editor.constant(factor if factor.size > 1 else factor.reshape(()), f"{scales.name}.scale")])
