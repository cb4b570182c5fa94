"""netwright's own operators on arrays: patches of maps, and sums to bytes. Batches go along the first axis."""

from __future__ import annotations

import numpy as np

from netwright.backends.cim.ops import Im2Col
from netwright.backends.cim.simulator.compiled import requantizing


def patches(x: np.ndarray, window: Im2Col) -> np.ndarray:
    """`Im2Col`: maps [N, H, W, C] → [N, OH, OW, KH·KW·C] in (kh, kw, c) order, c fastest."""
    (kh, kw), (down, right), (dh, dw) = window.kernel, window.strides, window.dilations
    if any(window.pads):
        x = _padded(x, window.pads, window.pad_value)
    n, h, w, c = x.shape
    oh, ow = (h - dh * (kh - 1) - 1) // down + 1, (w - dw * (kw - 1) - 1) // right + 1
    sn, sh, sw, sc = x.strides
    seen = np.lib.stride_tricks.as_strided(x, (n, oh, ow, kh, kw, c), (sn, sh * down, sw * right, sh * dh, sw * dw, sc), writeable=False)
    return seen.reshape(n, oh, ow, kh * kw * c)


def _padded(x: np.ndarray, pads: tuple[int, int, int, int], value: int) -> np.ndarray:
    """Maps with what stands around them; numpy's own padding takes longer than the patches of a small map."""
    n, h, w, c = x.shape
    top, left, bottom, side = pads
    made = np.empty((n, top + h + bottom, left + w + side, c), x.dtype)
    made[:, :top] = made[:, top + h :] = value
    made[:, top : top + h, :left] = made[:, top : top + h, left + w :] = value
    made[:, top : top + h, left : left + w] = x
    return made


def requantize(
    acc: np.ndarray, bias: np.ndarray, multiplier: np.ndarray, zero_point: int, low: int, high: int, dtype: np.dtype
) -> np.ndarray:
    """`Requantize`: sums [..., J] → saturate(rhe(float32(acc + bias) · multiplier) + zero_point), within [low, high].

    The sum wraps in 32 bits, the product is of float32, and rounding is half to even, as in ONNX Runtime's kernels.
    """
    sums = acc.reshape(-1, bias.shape[-1])
    made = np.empty(sums.shape, dtype)
    compiled = requantizing() if acc.dtype == np.int32 else None
    (compiled or _requantize)(sums, bias, multiplier, np.float32(zero_point), np.float32(low), np.float32(high), made)
    return made.reshape(acc.shape)


def _requantize(
    sums: np.ndarray, bias: np.ndarray, multiplier: np.ndarray, zero_point: np.float32, low: np.float32, high: np.float32, made: np.ndarray
) -> None:
    """The same as `loops.requantize`, some rows at a time."""
    columns = bias.shape[-1]
    rows = max(1, _CACHED // max(1, columns))
    shifted, scaled = np.empty((min(rows, len(sums)), columns), sums.dtype), np.empty((min(rows, len(sums)), columns), np.float32)
    for start in range(0, len(sums), rows):
        some = sums[start : start + rows]
        total, result = shifted[: len(some)], scaled[: len(some)]
        np.add(some, bias, out=total, casting="same_kind")
        result[...] = total
        np.multiply(result, multiplier, out=result)
        np.rint(result, out=result)
        np.add(result, zero_point, out=result)
        np.minimum(np.maximum(result, low, out=result), high, out=result)
        made[start : start + rows] = result


_CACHED = 2**15
"""Sums that are scaled at once: they stay in the cache from step to step."""
