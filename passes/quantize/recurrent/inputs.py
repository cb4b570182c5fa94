"""An LSTM's input and its weights in parts, so that products of bytes resolve what one byte each does not.

`DynamicQuantizeLSTM` has one step s for the whole input and one step for each row of W. An input of wide range (power spectra: a peak of
30 over a background of 0.01) and rows whose weights differ by orders of magnitude lose both. Here, with x' = x / f and W' = W f by
input channel (f powers of two, so that x' W'ᵀ = x Wᵀ to the bit), M = max |x'| and t = M / m,

    x' = c₁ + … + c_m + r      cᵢ the part of x' between (i - 1) t and i t, rounded towards zero to multiples of t / 255;  0 ≤ |r| < t / 255
    W' = Q + D                 Q the weights as integers,  |D| at most half a step
    W' / g = F + E             the same of the weights over g
    x W = Σ cᵢ Q  +  (g r) F  +  (g r / e) (e E)  +  (Σ cᵢ / h) (h D)

is exact in float. As integers the chunks c, Q and F are exact too, and what is lost is the rounding of the small terms alone. The input
product, done once for all steps, grows from I to (m + 3) I columns; the recurrent product, where an LSTM's time goes, stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir

if TYPE_CHECKING:
    from netwright.ir.editor import Editor

FINER, COARSER, FINEST = 64.0, 16.0, 16.0
"""g, h and e: what small terms are multiplied by before they become integers, of 255 and of 127 levels. A trained speaker encoder, voices
that nothing else saw: its first layer off by 0.044 and the mean cosine of embeddings 0.993 with 4 chunks; with g = 32, e = 8 it was 0.988,
and 0.986 without the part of E, which then took 8 chunks for 0.993."""

MOST_CHUNKS = int(COARSER)
"""Then the input over h still fits into the range of a chunk."""

_LEVELS = 255.0


@dataclass(frozen=True, slots=True)
class PartedWeight:
    """Integers of a weight in parts.

    Attributes:
        values: int8 [rows, (chunks + 3) · inputs]; with one chunk [rows, inputs].
        scale: float32 [rows].
    """

    values: np.ndarray
    scale: np.ndarray


def part_weight(weight: np.ndarray, factors: np.ndarray, chunks: int, *, bits: int, per_channel: bool) -> PartedWeight:
    """The weights that meet the parts of the input.

    Args:
        weight: [rows, inputs].
        factors: [inputs], multiplied in.
        chunks: two or more.
        bits: of the integers.
        per_channel: a step for each row, else one for all.
    """
    top = float((1 << (bits - 1)) - 1)
    whole = weight.astype(np.float64) * factors
    peak = np.abs(whole).max(axis=1) if per_channel else np.full(len(whole), np.abs(whole).max())
    scale = np.where(peak > 0, peak / top, 1.0).astype(np.float32)
    units = whole / scale.astype(np.float64)[:, None]
    integers = np.clip(np.rint(units), -top, top)
    left = np.rint((units - integers) * COARSER)
    fine = np.rint(units / FINER)
    parts = [*[integers] * chunks, fine, np.rint((units / FINER - fine) * FINEST), left]
    return PartedWeight(np.concatenate(parts, axis=1).astype(np.int8), scale)


def shrunk(editor: Editor, data: onnx_ir.Value, factors: np.ndarray) -> onnx_ir.Value:
    """The input with each channel divided by its factor."""
    name = data.name or "x"
    if (factors == 1).all():
        return data
    return editor.op("Mul", [data, editor.constant((1 / factors).astype(np.float32), f"{name}.shrink")], name=f"{name}.shrunk", like=data)


def part_input(editor: Editor, data: onnx_ir.Value, chunks: int) -> onnx_ir.Value:
    """The parts of an input [steps, batch, inputs], side by side: [steps, batch, (chunks + 3) · inputs].

    Standard operators; what they cost is linear in the input, a few per cent of a layer's time.
    """
    name = data.name or "x"

    def number(value: float, hint: str) -> onnx_ir.Value:
        return editor.constant(np.array(value, np.float32), f"{name}.{hint}")

    def op(op_type: str, inputs: list[onnx_ir.Value], hint: str) -> onnx_ir.Value:
        return editor.op(op_type, inputs, name=f"{name}.{hint}")

    zero, tiny = number(0.0, "zero"), number(float(np.finfo(np.float32).tiny) * _LEVELS * MOST_CHUNKS, "tiny")
    high = editor.op("ReduceMax", [data], {"keepdims": 0}, name=f"{name}.high")
    low = op("Neg", [editor.op("ReduceMin", [data], {"keepdims": 0}, name=f"{name}.low")], "low")
    chunk = op("Mul", [op("Max", [high, low, tiny], "peak"), number(1 / chunks, "chunks")], "chunk")
    reach = op("Add", [op("Clip", [high, zero, chunk], "above"), op("Clip", [low, zero, chunk], "below")], "range")
    step = op("Mul", [reach, number(1 / _LEVELS, "levels")], "step")
    steps = editor.op("Cast", [op("Div", [data, step], "steps")], {"to": int(onnx_ir.DataType.INT32)}, name=f"{name}.whole")
    whole = op("Mul", [editor.op("Cast", [steps], {"to": int(onnx_ir.DataType.FLOAT)}, name=f"{name}.whole"), step], "grid")
    parts: list[onnx_ir.Value] = []
    rest, floor = whole, op("Neg", [chunk], "floor")
    for _ in range(chunks - 1):
        parts.append(op("Clip", [rest, floor, chunk], "chunk"))
        rest = op("Sub", [rest, parts[-1]], "rest")
    fine = op("Mul", [op("Sub", [data, whole], "residue"), number(FINER, "finer")], "fine")
    finest = op("Mul", [fine, number(1 / FINEST, "finest")], "finest")
    coarse = op("Mul", [whole, number(1 / COARSER, "coarser")], "coarse")
    return editor.op("Concat", [*parts, rest, fine, finest, coarse], {"axis": -1}, name=f"{name}.parts")
