"""What it costs to put an activation on a grid and back: paid once at each border between integers and floats."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import onnx_ir

from netwright.ir.program import Program

_LARGE = 1 << 17
"""Elements on which converters are timed; smaller ones take in proportion."""


@dataclass(frozen=True, slots=True)
class Converters:
    """Milliseconds for an element.

    Attributes:
        quantize: float to integer.
        dequantize: back.
    """

    quantize: float
    dequantize: float


@lru_cache(maxsize=1)
def converter_programs() -> tuple[tuple[Program, dict[str, np.ndarray]], ...]:
    """Three programs with feeds: one that does nothing (what every run costs), a QuantizeLinear, a DequantizeLinear."""
    plain = np.zeros(1, np.float32)
    floats = np.linspace(-1, 1, _LARGE, dtype=np.float32)
    return (
        (_program("Neg", plain, ()), {"x": plain}),
        (_program("QuantizeLinear", floats, _GRID), {"x": floats}),
        (_program("DequantizeLinear", floats.astype(np.uint8), _GRID), {"x": floats.astype(np.uint8)}),
    )


def converters_of(idle: float, quantize: float, dequantize: float) -> Converters:
    """From the times of `converter_programs`."""
    return Converters(max(quantize - idle, 0.0) / _LARGE, max(dequantize - idle, 0.0) / _LARGE)


_GRID = (np.array(0.01, np.float32), np.array(128, np.uint8))


def _program(op_type: str, array: np.ndarray, constants: tuple[np.ndarray, ...]) -> Program:
    x = onnx_ir.Value(name="x", shape=onnx_ir.Shape(array.shape), type=onnx_ir.TensorType(onnx_ir.DataType.from_numpy(array.dtype)))
    held = [
        onnx_ir.Value(
            name=f"c{position}",
            shape=onnx_ir.Shape(()),
            type=onnx_ir.TensorType(onnx_ir.DataType.from_numpy(one.dtype)),
            const_value=onnx_ir.Tensor(one, name=f"c{position}"),
        )
        for position, one in enumerate(constants)
    ]
    dtype = onnx_ir.DataType.UINT8 if op_type == "QuantizeLinear" else onnx_ir.DataType.FLOAT
    y = onnx_ir.Value(name="y", shape=x.shape, type=onnx_ir.TensorType(dtype))
    node = onnx_ir.Node("", op_type, [x, *held], outputs=[y], name="y")
    graph = onnx_ir.Graph([x], [y], nodes=[node], initializers=held, opset_imports={"": 17}, name="converter")
    return Program(onnx_ir.Model(graph, ir_version=8))
