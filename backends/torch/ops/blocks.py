"""Blocks of an image moved into channels and back, and overlapping blocks added up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from netwright.backends.torch.ops.spatial import around, window_of, windows_of
from netwright.backends.torch.table import torch_op

Ints = Sequence[int]


@torch_op("DepthToSpace", moves=("x",))
def depth_to_space(x: torch.Tensor, *, blocksize: int, mode: str = "DCR") -> torch.Tensor:
    """Channels become blocks of pixels: [N, C·b², H, W] → [N, C, H·b, W·b].

    `CRD` takes a block's pixels from neighbouring channels (torch's pixel shuffle), `DCR` from channels C apart.
    """
    if mode == "CRD":
        return F.pixel_shuffle(x, blocksize)
    batch, channels, height, width = x.shape
    blocks = x.reshape(batch, blocksize, blocksize, channels // blocksize**2, height, width)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(batch, channels // blocksize**2, height * blocksize, width * blocksize)


@torch_op("SpaceToDepth", moves=("x",))
def space_to_depth(x: torch.Tensor, *, blocksize: int, mode: str = "DCR") -> torch.Tensor:
    """Blocks of pixels become channels: [N, C, H·b, W·b] → [N, C·b², H, W]; the way back of `DepthToSpace`."""
    if mode == "CRD":
        return F.pixel_unshuffle(x, blocksize)
    batch, channels, height, width = x.shape
    blocks = x.reshape(batch, channels, height // blocksize, blocksize, width // blocksize, blocksize)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(batch, channels * blocksize**2, height // blocksize, width // blocksize)


@torch_op("Col2Im", since=18, host=("image_shape", "block_shape"))
def col2im(
    x: torch.Tensor, image_shape: Ints, block_shape: Ints, *, dilations: Ints = (), pads: Ints = (), strides: Ints = ()
) -> torch.Tensor:
    """Overlapping blocks added up to an image over any number of axes: [N, C·∏block, L] → [N, C, *image]."""
    window = window_of(image_shape, block_shape, strides, dilations, pads, "NOTSET")
    if window.is_symmetric and len(image_shape) == 2:
        return F.fold(x, tuple(image_shape), window.kernel, window.dilations, window.before, window.strides)
    padded = [size + first + last for size, first, last in zip(image_shape, window.before, window.after, strict=True)]
    numbers = torch.arange(math.prod(padded), device=x.device).reshape(1, 1, *padded)
    rank = len(block_shape)
    windows = windows_of(numbers, window)[0, 0]
    places = windows.permute(*range(rank, 2 * rank), *range(rank)).reshape(-1)
    channels = x.shape[1] // math.prod(block_shape)
    added = x.new_zeros(x.shape[0], channels, math.prod(padded)).index_add(2, places, x.reshape(x.shape[0], channels, -1))
    return F.pad(
        added.reshape(x.shape[0], channels, *padded), around([-first for first in window.before], [-last for last in window.after])
    )
