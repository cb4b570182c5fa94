"""Pooling: one number for each window, or for each channel."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import torch
import torch.nn.functional as F

from netwright.backends.torch.ops.elements import axis_view, p_norm
from netwright.backends.torch.ops.spatial import Window, around, window_of, windows_of
from netwright.backends.torch.table import torch_op
from netwright.ir.errors import UnsupportedModelError

Ints = Sequence[int]
OneOrBoth: TypeAlias = "torch.Tensor | tuple[torch.Tensor, torch.Tensor]"
"""The first output alone where nobody reads the second."""


@torch_op("AveragePool")
def average_pool(
    x: torch.Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Ints = (),
    kernel_shape: Ints,
    pads: Ints = (),
    strides: Ints = (),
) -> torch.Tensor:
    """The mean of each window: over what lies on the tensor, or on the declared padding too (`count_include_pad`)."""
    window = window_of(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad)
    if len(kernel_shape) in _AVERAGES and _torch_pools(window) and not window.is_dilated:
        average = _AVERAGES[len(kernel_shape)]
        return average(
            x, window.kernel, window.strides, window.before, ceil_mode=bool(ceil_mode), count_include_pad=bool(count_include_pad)
        )
    counted = torch.ones_like(x[:1, :1])
    if count_include_pad:
        counted = F.pad(counted, around(window.before, window.after), value=1)
    return _window_sums(x, window, ceil_mode) / _window_sums(counted, window, ceil_mode, padded=bool(count_include_pad))


@torch_op("MaxPool", moves=("x",))
def max_pool(
    x: torch.Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints = (),
    kernel_shape: Ints,
    pads: Ints = (),
    storage_order: int = 0,
    strides: Ints = (),
    wanted: tuple[bool, ...] = (True,),
) -> OneOrBoth:
    """The largest element of each window, and where it lies.

    Args:
        x: [batch, channels, *sizes].
        auto_pad: see `spatial.window_of`; so for `dilations`, `pads`, `strides`.
        ceil_mode: count windows that reach over the end.
        dilations: distance between taps.
        kernel_shape: number of taps.
        pads: beginnings, then ends.
        storage_order: places count row by row (0) or column by column (1).
        strides: distance between windows.
        wanted: whether the second output is read.

    Returns:
        The largest elements, and their places in the whole tensor taken as one row.

    Raises:
        UnsupportedModelError: more than three spatial axes.
    """
    rank = len(kernel_shape)
    if rank not in _MAXIMA:
        raise UnsupportedModelError(f"torch has no MaxPool over {rank} axes.", place="MaxPool", remedy="Use one to three spatial axes.")
    window = window_of(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad)
    indices = len(wanted) > 1 and wanted[1]
    plain = x if x.is_floating_point() else x.float()
    padding, rounding = window.before, bool(ceil_mode)
    if not _torch_pools(window):
        after = _sum(window.after, window.overhang(x.shape[2:])) if ceil_mode else window.after
        plain = F.pad(plain, around(window.before, after), value=-math.inf)
        padding, rounding = (0,) * rank, False
    settings = (window.kernel, window.strides, padding, window.dilations, rounding)
    if not indices:
        return _MAXIMA[rank](plain, *settings).to(x.dtype)
    largest, places = _MAXIMA_AND_PLACES[rank](plain, *settings)
    shift = (0,) * rank if padding == window.before else window.before
    return largest.to(x.dtype), _whole_places(places, x.shape, plain.shape[2:], shift, storage_order)


@torch_op("LpPool")
def lp_pool(
    x: torch.Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints = (),
    kernel_shape: Ints,
    p: int = 2,
    pads: Ints = (),
    strides: Ints = (),
) -> torch.Tensor:
    """The p-norm of each window: (Σ |x|^p)^(1/p)."""
    window = window_of(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad)
    return _window_sums(x.abs().pow(p), window, ceil_mode).pow(1 / p)


@torch_op("GlobalAveragePool")
def global_average_pool(x: torch.Tensor) -> torch.Tensor:
    """The mean of each channel."""
    return x.mean(list(range(2, x.ndim)), keepdim=True)


@torch_op("GlobalMaxPool", moves=("x",))
def global_max_pool(x: torch.Tensor) -> torch.Tensor:
    """The largest element of each channel; the gradient goes to the first of equals, as in torch's pooling."""
    return x.flatten(2).max(2).values.reshape([*x.shape[:2], *[1] * (x.ndim - 2)])


@torch_op("GlobalLpPool")
def global_lp_pool(x: torch.Tensor, *, p: int = 2) -> torch.Tensor:
    """The p-norm of each channel."""
    return p_norm(x, p, range(2, x.ndim))


@torch_op("MaxUnpool", host=("output_shape",), moves=("x",))
def max_unpool(
    x: torch.Tensor, indices: torch.Tensor, output_shape: Ints | None = None, *, kernel_shape: Ints, pads: Ints = (), strides: Ints = ()
) -> torch.Tensor:
    """Each element back at the place that MaxPool took it from, zeros elsewhere.

    Places count in the tensor that kernel, strides and pads give; a larger `output_shape` adds zeros behind it.
    """
    window = window_of(x.shape[2:], kernel_shape, strides, (), pads, "NOTSET")
    inferred = [
        (size - 1) * stride - before - after + taps
        for size, stride, before, after, taps in zip(x.shape[2:], window.strides, window.before, window.after, window.kernel, strict=True)
    ]
    whole = x.new_zeros([math.prod([*x.shape[:2], *inferred])]).scatter(0, indices.reshape(-1).to(torch.int64), x.reshape(-1))
    placed = whole.reshape([*x.shape[:2], *inferred])
    if output_shape is None:
        return placed
    return F.pad(placed, around([0] * len(inferred), [wanted - size for wanted, size in zip(output_shape[2:], inferred, strict=True)]))


def _torch_pools(window: Window) -> bool:
    """True where torch's pooling takes the padding: equal at both ends and at most half of the kernel."""
    return window.is_symmetric and all(2 * count <= taps for count, taps in zip(window.before, window.kernel, strict=True))


def _window_sums(x: torch.Tensor, window: Window, ceil_mode: int, *, padded: bool = False) -> torch.Tensor:
    """The sum of each window, zeros standing in the padding.

    Args:
        x: [batch, channels, *sizes].
        window: how the kernel moves.
        ceil_mode: count windows that reach over the end.
        padded: `x` has its padding already.
    """
    before, after = ((0,) * len(window.kernel),) * 2 if padded else (window.before, window.after)
    sizes = [size - (first + last if padded else 0) for size, first, last in zip(x.shape[2:], window.before, window.after, strict=True)]
    over = window.overhang(sizes) if ceil_mode else (0,) * len(sizes)
    rank = len(window.kernel)
    return windows_of(F.pad(x, around(before, _sum(after, over))), window).sum(dim=list(range(-rank, 0)))


def _whole_places(places: torch.Tensor, shape: Ints, searched: Ints, shift: Ints, storage_order: int) -> torch.Tensor:
    """Places in one channel of a padded tensor as places in the whole tensor without its padding."""
    sizes = shape[2:]
    if storage_order or tuple(searched) != tuple(sizes):
        coordinates: list[torch.Tensor] = []
        for size, before in zip(reversed(searched), reversed(shift), strict=True):
            coordinates.append(places % size - before)
            places = places // size
        places = torch.zeros_like(places)
        ordered = list(zip(reversed(coordinates), sizes, strict=True))
        for coordinate, size in reversed(ordered) if storage_order else ordered:
            places = places * size + coordinate
    channels = torch.arange(shape[0] * shape[1], device=places.device) * math.prod(sizes)
    return places + axis_view(channels, 0, 1 + len(sizes)).reshape([shape[0], shape[1], *[1] * len(sizes)])


def _sum(left: Ints, right: Ints) -> tuple[int, ...]:
    return tuple(one + other for one, other in zip(left, right, strict=True))


_AVERAGES: Mapping[int, Callable[..., torch.Tensor]] = MappingProxyType({1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d})
_MAXIMA: Mapping[int, Callable[..., torch.Tensor]] = MappingProxyType({1: torch.max_pool1d, 2: torch.max_pool2d, 3: torch.max_pool3d})
_MAXIMA_AND_PLACES: Mapping[int, Callable[..., tuple[torch.Tensor, torch.Tensor]]] = MappingProxyType(
    {1: F.max_pool1d_with_indices, 2: F.max_pool2d_with_indices, 3: F.max_pool3d_with_indices}
)
