"""An LSTM's states: one scale for all recurrent weights, and no zeros to start from.

One scale is less to compute at each step than one for each row, by which 4 H sums are multiplied: with 256 hidden units a step of
`DynamicQuantizeLSTM` takes 3.3 in place of 3.7 us (ONNX Runtime 1.31, AVX512-VNNI). The range is not that of the largest weight but the
one whose squared errors, each row's relative to that row, add up to the least: few rows hold the large ones, and all others pay for them.
A trained speaker encoder's upper layers: off by 0.026 and 0.015 with scales by row, 0.048 and 0.044 with one up to the peak, 0.037 and
0.029 with one up to 0.7 and 0.6 of it; the mean cosine of embeddings, for voices that nothing else saw, 0.9926, 0.9909 and 0.9921.
"""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.program import array

SHARES = np.linspace(1.0, 0.4, 13)
"""Of the largest weight, at which ranges are tried to end; what lies outside becomes the last of the bytes, so only with 8 bits."""

HIDDEN = 256
"""Least hidden units with which one scale for all is tried."""


_COPYING = frozenset({"Expand", "Identity", "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze"})


def is_zero(value: onnx_ir.Value) -> bool:
    """True of what is known to hold zeros alone, whatever its shape: an initial state that need not be made."""
    node = value.producer()
    while node is not None and not node.domain and node.op_type in _COPYING and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer()
    if node is not None and node.op_type == "ConstantOfShape" and not node.domain:
        fill = node.attributes.get("value")
        return fill is None or not fill.as_tensor().numpy().any()
    known = array(value)
    return known is not None and not known.any()


def with_one_scale(weight: np.ndarray, bits: int) -> tuple[np.ndarray, float]:
    """The int8 values of a weight, and the one scale with which the mean of the rows' relative squared errors is least.

    Args:
        weight: [rows, inputs], finite.
        bits: of the integers.
    """
    top = float((1 << (bits - 1)) - 1)
    peak = float(np.abs(weight).max(initial=0))
    if peak == 0:
        return np.zeros(weight.shape, np.int8), 1.0
    powers = np.maximum(np.square(weight).sum(axis=1, dtype=np.float64), np.finfo(np.float32).tiny)
    tried: list[tuple[float, np.ndarray, float]] = []
    for share in SHARES if bits == 8 else (1.0,):
        scale = float(np.float32(share * peak / top))
        values = np.clip(np.rint(weight / scale), -top - 1, top)
        tried.append((float((np.square(values * scale - weight).sum(axis=1, dtype=np.float64) / powers).mean()), values, scale))
    _, values, scale = min(tried, key=lambda one: one[0])
    return values.astype(np.int8), scale
