"""From sums to what the graph wants of them: bytes, or floats.

ONNX Runtime's integer kernels compute acc = Σ (x − zx)·w + bias in int32 and then

- QLinearConv, QLinearMatMul, QGemm: saturate(rhe(float(acc) · (sx·sw[j] / sy)) + zy), the factor in float32 in this order;
- MatMulIntegerToFloat: float(acc) · (sx·sw[j]).

The lowered graph does the same: −zx·Σ_k w[k, j] goes into the bias. Source: ONNX Runtime's kernels of these names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.backends.cim.lowering.reading import Grid, NoProduct
from netwright.backends.cim.ops.requantize import REQUANTIZE
from netwright.backends.cim.ops.schemas import DOMAIN
from netwright.ir.editor import Editor


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


def offset_of(matrix: np.ndarray, zero: int, bias: np.ndarray | None) -> np.ndarray:
    """Bias − zx·Σ_k w[k, j], as int32.

    Args:
        matrix: int8 [K, J].
        zero: the input's zero point.
        bias: int32 [J], if any.

    Raises:
        NoProduct: it does not fit 32 bits.
    """
    total = -zero * matrix.sum(axis=0, dtype=np.int64)
    if bias is not None:
        total = total + bias.astype(np.int64)
    if total.size and np.abs(total).max() >= 2**31:
        raise NoProduct(f"bias and zero point add up to {int(np.abs(total).max())}, more than 32 bits hold")
    return total.astype(np.int32)


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
