"""Deformable convolution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from netwright.backends.torch.ops.elements import axis_view
from netwright.backends.torch.ops.sampling import linear_taps, sample
from netwright.backends.torch.ops.spatial import window_of
from netwright.backends.torch.table import torch_op

Ints = Sequence[int]


@torch_op("DeformConv", since=19)
def deform_conv(
    x: torch.Tensor,
    w: torch.Tensor,
    offset: torch.Tensor,
    b: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    *,
    dilations: Ints = (),
    group: int = 1,
    kernel_shape: Ints = (),
    offset_group: int = 1,
    pads: Ints = (),
    strides: Ints = (),
) -> torch.Tensor:
    """Convolution whose taps are moved by offsets (Dai et al., arXiv 1703.06211) and weighed by a mask (arXiv 1811.11168).

    Every tap is read by linear interpolation, zeros outside; then filters apply as one product of matrices.

    Args:
        x: [batch, channels, *sizes].
        w: [filters, channels / group, *kernel].
        offset: [batch, offset_group · taps · axes, *windows]: for each tap its shift along each axis, in elements.
        b: [filters].
        mask: [batch, offset_group · taps, *windows].
        dilations: distance between taps.
        group: number of groups of channels.
        kernel_shape: that of `w`, which says it already.
        offset_group: number of groups of channels that share offsets.
        pads: beginnings, then ends.
        strides: distance between windows.

    Returns:
        [batch, filters, *windows].
    """
    window = window_of(x.shape[2:], w.shape[2:], strides, dilations, pads, "NOTSET")
    rank, taps, windows = x.ndim - 2, math.prod(window.kernel), offset.shape[2:]
    batch = x.shape[0] * offset_group
    shifts = offset.reshape(batch, taps, rank, math.prod(windows)).unbind(2)
    places: list[torch.Tensor] = []
    for axis, shift in enumerate(shifts):
        tap = torch.arange(window.kernel[axis], device=x.device) * window.dilations[axis]
        begin = torch.arange(windows[axis], device=x.device) * window.strides[axis] - window.before[axis]
        grid = axis_view(tap, axis, 2 * rank) + axis_view(begin, rank + axis, 2 * rank)
        regular = grid.expand([*window.kernel, *windows]).reshape(taps, -1)
        places.append((regular + shift).flatten(1))
    values = sample(x.reshape(batch, x.shape[1] // offset_group, *x.shape[2:]), places, linear_taps)
    columns = values.reshape(batch, -1, taps, math.prod(windows))
    if mask is not None:
        columns = columns * mask.reshape(batch, 1, taps, -1)
    grouped = columns.reshape(x.shape[0], group, -1, math.prod(windows))
    filtered = w.reshape(group, w.shape[0] // group, -1) @ grouped
    y = filtered.reshape(x.shape[0], w.shape[0], *windows)
    return y if b is None else y + axis_view(b, 0, rank + 1)
