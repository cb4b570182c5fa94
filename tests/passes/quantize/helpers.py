"""What the quantization tests share: running a pass, running a program, and integer arithmetic in numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.ir.verify import verify
from netwright.passes import Context, Outcome, run
from netwright.passes.quantize import Quantize
from tests.passes.programs import program_of

HEAD = '<ir_version: 10, opset_import: ["" : 20]>'


def quantized(program: Program, context: Context | None = None, **options: object) -> Outcome:
    """The outcome of `quantize(**options)`, verified after each action."""
    outcome = run(program, [Quantize(**options)], context or Context(), verify_each=True)  # type: ignore[arg-type]
    verify(outcome.program)
    return outcome


def evaluate(program: Program, feeds: Mapping[str, np.ndarray], wanted: Sequence[str] | None = None) -> list[np.ndarray]:
    """The outputs, or the wanted values, in order."""
    return list(OrtExecutor().run(program, feeds, wanted).values())


def ops(program: Program) -> list[str]:
    """Operator types in graph order."""
    return [node.op_type for node in program.nodes()]


def reasons(outcome: Outcome) -> dict[str, str]:
    """Reason by site, of the last pass's misses."""
    return {miss.site: miss.reason for miss in outcome.rows[-1].misses}


def activation(x: np.ndarray) -> tuple[np.ndarray, np.float32]:
    """ONNX's DynamicQuantizeLinear without its zero point: integers minus zero point, int32, and the scale."""
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    scale = np.float32((np.float32(high) - np.float32(low)) / np.float32(255))
    zero = np.clip(np.rint(np.float32(-low) / scale), 0, 255)
    return (np.clip(np.rint(x / scale) + zero, 0, 255) - zero).astype(np.int32), scale


def columns(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric int8 by column: integers and scales."""
    scale = (np.abs(weight).max(axis=0) / np.float32(127)).astype(np.float32)
    return np.rint(weight / scale.astype(np.float64)).astype(np.int32), scale


def product(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """x W as dynamic int8 computes it."""
    integers, scale = activation(x)
    weights, weight_scale = columns(weight)
    return (integers @ weights).astype(np.float32) * (scale * weight_scale)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal float32 numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def linear(rows: int = 64, columns: int = 96, bias: bool = True) -> Program:
    """y = x W (+ b), x: [N, T, rows]."""
    weights = {"w": normal(rows, columns, seed=1)} | ({"b": normal(columns, seed=2)} if bias else {})
    body = "t = MatMul (x, w)\n y = Add (t, b)" if bias else "y = MatMul (x, w)"
    return program_of(f"{HEAD} linear (float[N, T, {rows}] x, WEIGHTS) => (float[N, T, {columns}] y) {{ {body} }}", weights)
