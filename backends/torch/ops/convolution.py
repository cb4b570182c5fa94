"""Convolutions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
import torch.nn.functional as F

from netwright.backends.torch.ops.spatial import around, window_of
from netwright.backends.torch.table import torch_op
from netwright.ir.errors import UnsupportedModelError

Ints = Sequence[int]


@torch_op("Conv")
def conv(
    x: torch.Tensor,
    w: torch.Tensor,
    b: torch.Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints = (),
    group: int = 1,
    kernel_shape: Ints = (),
    pads: Ints = (),
    strides: Ints = (),
) -> torch.Tensor:
    """Convolution over one to three axes; only padding that differs between the ends is a step of its own.

    Args:
        x: [batch, channels, *sizes].
        w: [filters, channels / group, *kernel].
        b: [filters].
        auto_pad: see `spatial.window_of`.
        dilations: distance between taps.
        group: number of groups of channels.
        kernel_shape: that of `w`, which says it already.
        pads: beginnings, then ends.
        strides: distance between windows.

    Raises:
        UnsupportedModelError: more than three spatial axes.
    """
    function = _CONVOLUTIONS[_spatial_rank(x, "Conv")]
    half = len(pads) // 2
    if auto_pad == "NOTSET" and pads[:half] == pads[half:]:
        return function(x, w, b, strides or 1, pads[:half] or 0, dilations or 1, group)
    window = window_of(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
    if window.is_symmetric:
        return function(x, w, b, window.strides, window.before, window.dilations, group)
    return function(F.pad(x, around(window.before, window.after)), w, b, window.strides, 0, window.dilations, group)


@torch_op("ConvTranspose")
def conv_transpose(
    x: torch.Tensor,
    w: torch.Tensor,
    b: torch.Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints = (),
    group: int = 1,
    kernel_shape: Ints = (),
    output_padding: Ints = (),
    output_shape: Ints = (),
    pads: Ints = (),
    strides: Ints = (),
) -> torch.Tensor:
    """Transposed convolution over one to three axes.

    The whole result has stride · (size - 1) + span elements an axis; `pads` are cropped from it, or as much as leaves
    `output_shape`, and `output_padding` is left at the end; where more than the whole is wanted, zeros follow it.

    Args:
        x: [batch, channels, *sizes].
        w: [channels, filters / group, *kernel].
        b: [filters].
        auto_pad: `SAME_UPPER` and `SAME_LOWER` leave size · stride elements; they also say where the odd one is cropped.
        dilations: distance between taps.
        group: number of groups of channels.
        kernel_shape: that of `w`, which says it already.
        output_padding: elements more at the end.
        output_shape: sizes of the result's spatial axes.
        pads: beginnings, then ends.
        strides: distance between windows.

    Raises:
        UnsupportedModelError: more than three spatial axes.
    """
    rank = _spatial_rank(x, "ConvTranspose")
    window = window_of(x.shape[2:], w.shape[2:], strides, dilations, pads, "NOTSET")
    extra = tuple(output_padding) or (0,) * rank
    before, after = window.before, window.after
    sizes = tuple(output_shape[-rank:])
    if not sizes and auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        sizes = tuple(size * stride for size, stride in zip(x.shape[2:], window.strides, strict=True))
    if sizes:
        whole = [(size - 1) * stride + span for size, stride, span in zip(x.shape[2:], window.strides, window.spans(), strict=True)]
        totals = [full + more - size for full, more, size in zip(whole, extra, sizes, strict=True)]
        odd = 0 if auto_pad == "SAME_UPPER" else 1
        before = tuple((max(total, 0) + odd) // 2 for total in totals)
        after = tuple(total - first for total, first in zip(totals, before, strict=True))
    function = _TRANSPOSED[rank]
    left = tuple(first - last + more for first, last, more in zip(before, after, extra, strict=True))
    reach = [max(stride, dilation) for stride, dilation in zip(window.strides, window.dilations, strict=True)]
    if all(0 <= one < limit for one, limit in zip(left, reach, strict=True)) and all(first >= 0 for first in before):
        return function(x, w, b, window.strides, before, left, group, window.dilations)
    whole = function(x, w, None, window.strides, 0, 0, group, window.dilations)
    cut = F.pad(whole, around([-first for first in before], [more - last for last, more in zip(after, extra, strict=True)]))
    return cut if b is None else cut + b.reshape(-1, *[1] * rank)


def _spatial_rank(x: torch.Tensor, op_type: str) -> int:
    rank = x.ndim - 2
    if rank not in _CONVOLUTIONS:
        raise UnsupportedModelError(f"torch has no {op_type} over {rank} axes.", place=op_type, remedy="Use one to three spatial axes.")
    return rank


_CONVOLUTIONS: Mapping[int, Callable[..., torch.Tensor]] = MappingProxyType({1: F.conv1d, 2: F.conv2d, 3: F.conv3d})
_TRANSPOSED: Mapping[int, Callable[..., torch.Tensor]] = MappingProxyType(
    {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
)
