"""netwright's own operators on arrays: patches of maps, and sums to bytes. Batches go along the first axis."""

from __future__ import annotations

import numpy as np

from netwright.backends.cim.ops import Im2Col


def patches(x: np.ndarray, window: Im2Col) -> np.ndarray:
    """`Im2Col`: maps [N, H, W, C] → [N, OH, OW, KH·KW·C] in (kh, kw, c) order, c fastest."""
    (kh, kw), (down, right), (dh, dw) = window.kernel, window.strides, window.dilations
    top, left, bottom, side = window.pads
    if any(window.pads):
        x = np.pad(x, ((0, 0), (top, bottom), (left, side), (0, 0)), constant_values=window.pad_value)
    n, h, w, c = x.shape
    oh, ow = (h - dh * (kh - 1) - 1) // down + 1, (w - dw * (kw - 1) - 1) // right + 1
    sn, sh, sw, sc = x.strides
    seen = np.lib.stride_tricks.as_strided(x, (n, oh, ow, kh, kw, c), (sn, sh * down, sw * right, sh * dh, sw * dw, sc), writeable=False)
    return seen.reshape(n, oh, ow, kh * kw * c)


def requantize(
    acc: np.ndarray, bias: np.ndarray, multiplier: np.ndarray, zero_point: int, low: int, high: int, dtype: np.dtype
) -> np.ndarray:
    """`Requantize`: sums [..., J] → saturate(rhe(float32(acc + bias) · multiplier) + zero_point), within [low, high].

    The sum wraps in 32 bits, the product is of float32, and rounding is half to even, as in ONNX Runtime's kernels.
    """
    columns = bias.shape[-1]
    sums = acc.reshape(-1, columns)
    made = np.empty(sums.shape, dtype)
    rows = max(1, _CACHED // max(1, columns))
    shifted, scaled = np.empty((min(rows, len(sums)), columns), acc.dtype), np.empty((min(rows, len(sums)), columns), np.float32)
    for start in range(0, len(sums), rows):
        some = sums[start : start + rows]
        total, result = shifted[: len(some)], scaled[: len(some)]
        np.add(some, bias, out=total, casting="same_kind")
        result[...] = total
        np.multiply(result, multiplier, out=result)
        np.rint(result, out=result)
        np.add(result, np.float32(zero_point), out=result)
        np.minimum(np.maximum(result, np.float32(low), out=result), np.float32(high), out=result)
        made[start : start + rows] = result
    return made.reshape(acc.shape)


_CACHED = 2**15
"""Sums that are scaled at once: they stay in the cache from step to step."""
