"""Bounds of values, as far as they decide whether an infinity can arise from finite inputs.

Activations (what a MatMul, a Conv or a norm makes) are taken to be ordinary numbers: of magnitude at most 2^100 in
float32 and bfloat16, far beyond what a trained model computes, and far below half a unit in the last place of the
largest float32 (2^103): such a number added to a mask of −3.4·10³⁸ still rounds to −3.4·10³⁸. In float16 there is no
such gap (−65504 − 16 is −∞), so its activations are bounded by the type alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx_ir
from onnx_ir import DataType

from netwright.ir.opinfo import has_references, is_float, is_integer
from netwright.ir.program import constant

_ACTIVATION = {DataType.FLOAT: 2.0**100, DataType.BFLOAT16: 2.0**100, DataType.DOUBLE: 2.0**900, DataType.FLOAT16: 65504.0}
_LARGEST = {DataType.FLOAT: float(np.finfo(np.float32).max), DataType.DOUBLE: float(np.finfo(np.float64).max), DataType.FLOAT16: 65504.0}
_BFLOAT16_LARGEST = 3.3895313892515355e38
_READ_ELEMENTS = 1 << 22
_DEEPEST = 64

_ORDINARY = frozenset(
    {
        "Attention",
        "BatchNormalization",
        "Conv",
        "ConvTranspose",
        "Einsum",
        "Erf",
        "Gelu",
        "Gemm",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "MatMul",
        "RMSNormalization",
        "RotaryEmbedding",
    }
)
"""Operators whose results count as activations."""

_MOVES = frozenset(
    {
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "Identity",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
"""Operators that only move elements of their first input."""

_UNIT = frozenset({"Sigmoid", "HardSigmoid", "Softmax"})


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a value lies between.

    Attributes:
        low: least possible value; −∞ where that can arise.
        high: greatest possible value.
        culprit: name of the value at which an infinity enters, empty where none does.
    """

    low: float
    high: float
    culprit: str = ""

    @property
    def finite(self) -> bool:
        """True where no infinity and no NaN can arise."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))


@dataclass(slots=True)
class Analysis:
    """Bounds of values, each worked out once.

    Attributes:
        main: the main graph, whose inputs are taken to be finite; those of loop bodies and functions may be anything.
        known: what has been worked out.
    """

    main: onnx_ir.Graph
    known: dict[onnx_ir.Value, Bounds] = field(default_factory=dict[onnx_ir.Value, Bounds])

    def bounds(self, value: onnx_ir.Value | None, depth: int = 0) -> Bounds:
        """The bounds of a value; linear in the nodes above it up to the next activations."""
        if value is None:
            return Bounds(-np.inf, np.inf)
        found = self.known.get(value)
        if found is None:
            found = self._of(value, depth) if depth < _DEEPEST else _unknown(value)
            self.known[value] = found
        return found

    def _of(self, value: onnx_ir.Value, depth: int) -> Bounds:
        tensor = constant(value)
        if tensor is not None:
            return _of_constant(value, tensor)
        node = value.producer()
        if node is None:
            return _of_type(value, limit=None) if value.is_graph_input() and value.graph is self.main else _unknown(value)
        if node.domain not in ("", "ai.onnx") or has_references(node):
            return _unknown(value)
        if not is_float(value.dtype):
            return _of_type(value, limit=None)
        if node.op_type in _ORDINARY:
            return _of_type(value, limit=_ACTIVATION)
        if node.op_type in _MOVES:
            return self.bounds(node.inputs[0], depth + 1)
        if node.op_type in _UNIT:
            return Bounds(0.0, 1.0)
        if node.op_type == "Tanh":
            return Bounds(-1.0, 1.0)
        rule = _RULES.get(node.op_type)
        if rule is None:
            return _unknown(value)
        inputs = [self.bounds(source, depth + 1) for source in node.inputs if source is not None]
        culprit = next((one.culprit for one in inputs if one.culprit), "")
        with np.errstate(all="ignore"):
            low, high = rule(inputs)
            return _rounded(value, low, high, culprit)


def _of_constant(value: onnx_ir.Value, tensor: onnx_ir.TensorProtocol) -> Bounds:
    if not tensor.size:
        return Bounds(0.0, 0.0)
    if tensor.size > _READ_ELEMENTS or not (is_float(tensor.dtype) or is_integer(tensor.dtype) or tensor.dtype == DataType.BOOL):
        return _unknown(value)
    numbers = tensor.numpy().astype(np.float64)
    return _rounded(value, float(numbers.min()), float(numbers.max()), "")


def _of_type(value: onnx_ir.Value, limit: dict[DataType, float] | None) -> Bounds:
    """The bounds that a type sets: all finite numbers, or activations."""
    dtype = value.dtype
    if dtype == DataType.BOOL:
        return Bounds(0.0, 1.0)
    if is_integer(dtype) and dtype is not None and dtype.bitwidth >= 8:
        info = np.iinfo(dtype.numpy())
        return Bounds(float(info.min), float(info.max))
    if dtype is None or not is_float(dtype):
        return _unknown(value)
    most = (limit or _LARGEST).get(dtype, _BFLOAT16_LARGEST)
    return Bounds(-most, most)


def _rounded(value: onnx_ir.Value, low: float, high: float, culprit: str) -> Bounds:
    """Bounds as the value's type holds them: what exceeds it is infinite."""
    dtype = value.dtype
    if dtype is not None and is_float(dtype):
        kind = dtype.numpy().type
        with np.errstate(all="ignore"):
            low, high = float(kind(low)), float(kind(high))
    finite = bool(np.isfinite(low) and np.isfinite(high))
    if np.isnan(low) or np.isnan(high):
        low, high = -np.inf, np.inf
    return Bounds(low, high, "" if finite else culprit or value.name or "")


def _unknown(value: onnx_ir.Value) -> Bounds:
    return Bounds(-np.inf, np.inf, value.name or "")


def _product(inputs: list[Bounds]) -> tuple[float, float]:
    a, b = inputs
    ends = [0.0 if 0.0 in (x, y) and np.isfinite([x, y]).all() else x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    return min(ends), max(ends)


def _quotient(inputs: list[Bounds]) -> tuple[float, float]:
    a, b = inputs
    if b.low <= 0.0 <= b.high:
        return -np.inf, np.inf
    return _product([a, Bounds(1.0 / b.high, 1.0 / b.low)])


def _where(inputs: list[Bounds]) -> tuple[float, float]:
    return min(inputs[1].low, inputs[2].low), max(inputs[1].high, inputs[2].high)


def _scattered(inputs: list[Bounds]) -> tuple[float, float]:
    return min(inputs[0].low, inputs[2].low), max(inputs[0].high, inputs[2].high)


_RULES: dict[str, Callable[[list[Bounds]], tuple[float, float]]] = {
    "Abs": lambda v: (0.0, max(abs(v[0].low), abs(v[0].high))),
    "Add": lambda v: (v[0].low + v[1].low, v[0].high + v[1].high),
    "Cast": lambda v: (v[0].low, v[0].high),
    "Clip": lambda v: (min(max(v[0].low, v[1].low), v[-1].high), min(v[0].high, v[-1].high)) if len(v) == 3 else (v[0].low, v[0].high),
    "Concat": lambda v: (min(one.low for one in v), max(one.high for one in v)),
    "Div": _quotient,
    "Max": lambda v: (max(one.low for one in v), max(one.high for one in v)),
    "Min": lambda v: (min(one.low for one in v), min(one.high for one in v)),
    "Mul": _product,
    "Neg": lambda v: (-v[0].high, -v[0].low),
    "Relu": lambda v: (max(0.0, v[0].low), max(0.0, v[0].high)),
    "ScatterElements": _scattered,
    "ScatterND": _scattered,
    "Sub": lambda v: (v[0].low - v[1].high, v[0].high - v[1].low),
    "Trilu": lambda v: (min(0.0, v[0].low), max(0.0, v[0].high)),
    "Where": _where,
}
"""Bounds of a result from bounds of the inputs given, before rounding to the result's type."""
