"""Fourier transforms, windows and mel filters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch

from netwright.backends.torch.ops.elements import single
from netwright.backends.torch.table import torch_op

Count = int | Sequence[int]


@torch_op("DFT", since=20, host=("dft_length", "axis"))
def dft(
    x: torch.Tensor, dft_length: Count | None = None, axis: Count | None = None, *, inverse: int = 0, onesided: int = 0
) -> torch.Tensor:
    """The discrete Fourier transform along an axis.

    Args:
        x: [..., 1] real or [..., 2] complex.
        dft_length: the axis is cut or filled up with zeros to it; the axis' own size where None (for a real inverse,
            2 · (size - 1)).
        axis: which; the last before the complex one where None.
        inverse: the way back, divided by the length.
        onesided: forward, the first half of a real signal's spectrum; inverse, the real signal of such a half.
    """
    place = -2 if axis is None else single(axis)
    return _transformed(x, None if dft_length is None else single(dft_length), place % x.ndim, inverse=inverse, onesided=onesided)


@torch_op("DFT", since=17, host=("dft_length",))
def dft_by_attribute(
    x: torch.Tensor, dft_length: Count | None = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0
) -> torch.Tensor:
    """The discrete Fourier transform as opsets 17 to 19 have it: the axis is an attribute."""
    return _transformed(x, None if dft_length is None else single(dft_length), axis % x.ndim, inverse=inverse, onesided=onesided)


@torch_op("STFT", since=17, host=("frame_step", "frame_length"), frozen=("window",))
def stft(
    signal: torch.Tensor,
    frame_step: Count,
    window: torch.Tensor | None = None,
    frame_length: Count | None = None,
    *,
    onesided: int = 1,
) -> torch.Tensor:
    """The Fourier transform of each windowed frame.

    Args:
        signal: [batch, length, 1] real or [batch, length, 2] complex.
        frame_step: distance between frames.
        window: [frame_length]; ones where None.
        frame_length: the window's length, or the signal's, where None.
        onesided: the first half of the spectrum.

    Returns:
        [batch, frames, bins, 2].
    """
    length = single(frame_length) if frame_length is not None else signal.shape[1] if window is None else window.shape[0]
    frames = signal.unfold(1, length, single(frame_step))
    weighed = frames if window is None else frames * window
    return _transformed(weighed.transpose(2, 3), None, 2, inverse=0, onesided=onesided)


@torch_op("HannWindow", since=17, host=("size",), dtypes=("output_datatype",))
def hann_window(
    size: Count, *, output_datatype: torch.dtype = torch.float32, periodic: int = 1, device: torch.device | None = None
) -> torch.Tensor:
    """Hann's window: ½ - ½ cos(2πn / N); N is the size if periodic, else one less."""
    return torch.hann_window(single(size), periodic=bool(periodic), device=device).to(output_datatype)


@torch_op("HammingWindow", since=17, host=("size",), dtypes=("output_datatype",))
def hamming_window(
    size: Count, *, output_datatype: torch.dtype = torch.float32, periodic: int = 1, device: torch.device | None = None
) -> torch.Tensor:
    """Hamming's window: α - (1 - α) cos(2πn / N) with α = 25/46; N is the size if periodic, else one less."""
    return torch.hamming_window(single(size), bool(periodic), 25 / 46, 21 / 46, device=device).to(output_datatype)


@torch_op("BlackmanWindow", since=17, host=("size",), dtypes=("output_datatype",))
def blackman_window(
    size: Count, *, output_datatype: torch.dtype = torch.float32, periodic: int = 1, device: torch.device | None = None
) -> torch.Tensor:
    """Blackman's window: 0.42 - 0.5 cos(2πn / N) + 0.08 cos(4πn / N); N is the size if periodic, else one less."""
    return torch.blackman_window(single(size), periodic=bool(periodic), device=device).to(output_datatype)


@torch_op(
    "MelWeightMatrix",
    since=17,
    host=("num_mel_bins", "dft_length", "sample_rate", "lower_edge_hertz", "upper_edge_hertz"),
    dtypes=("output_datatype",),
)
def mel_weight_matrix(
    num_mel_bins: Count,
    dft_length: Count,
    sample_rate: Count,
    lower_edge_hertz: float | Sequence[float],
    upper_edge_hertz: float | Sequence[float],
    *,
    output_datatype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> torch.Tensor:
    """Triangles, evenly spaced on the mel scale mel(f) = 2595 log10(1 + f / 700), that weigh a spectrum's bins.

    Their corners are rounded down to whole bins, as in ONNX's reference.

    Returns:
        [dft_length / 2 + 1, num_mel_bins].
    """
    count, length = single(num_mel_bins), single(dft_length)
    low, high = (2595 * math.log10(1 + single(edge) / 700) for edge in (lower_edge_hertz, upper_edge_hertz))
    step = (high - low) / (count + 2)
    hertz = (700 * (10 ** ((low + step * index) / 2595) - 1) for index in range(count + 2))
    corners = [int((length + 1) * frequency // single(sample_rate)) for frequency in hertz]
    bins = torch.arange(length // 2 + 1, dtype=torch.float64, device=device).unsqueeze(1)
    left, peak, right = (torch.tensor(corners[first : first + count], dtype=torch.float64, device=device) for first in range(3))
    rising = (bins - left) / (peak - left).clamp(min=1)
    falling = (right - bins) / (right - peak).clamp(min=1)
    weights = torch.where(bins < peak, rising, torch.where(bins < right, falling, torch.zeros_like(falling)))
    weights = torch.where((bins == peak), torch.ones_like(weights), weights)
    return weights.clamp(min=0).to(output_datatype)


def _transformed(x: torch.Tensor, length: int | None, axis: int, *, inverse: int, onesided: int) -> torch.Tensor:
    """The transform of a tensor whose last axis is complex, real and imaginary part; torch has none in half precision."""
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    is_real = x.shape[-1] == 1
    numbers = wide.squeeze(-1) if is_real else torch.view_as_complex(wide.contiguous())
    if inverse and onesided:
        return _irfft(numbers, length, axis).unsqueeze(-1).to(x.dtype)
    if onesided and is_real and not inverse:
        return torch.view_as_real(_rfft(numbers, length, axis)).to(x.dtype)
    found = _ifft(numbers, length, axis) if inverse else _fft(numbers, length, axis)
    half = found.narrow(axis, 0, found.shape[axis] // 2 + 1) if onesided else found
    return torch.view_as_real(half.resolve_conj()).to(x.dtype)


_Transform = Callable[[torch.Tensor, "int | None", int], torch.Tensor]
_fft = cast("_Transform", torch.fft.fft)
_ifft = cast("_Transform", torch.fft.ifft)
_rfft = cast("_Transform", torch.fft.rfft)
_irfft = cast("_Transform", torch.fft.irfft)
