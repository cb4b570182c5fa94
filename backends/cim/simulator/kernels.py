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
    scaled = (acc + bias).astype(np.float32) * multiplier
    return np.clip(np.rint(scaled) + np.float32(zero_point), low, high).astype(dtype)
