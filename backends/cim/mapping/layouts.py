"""Where tensors lie when they are made, as layouts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netwright.backends.cim.program.layout import AxisLayout, Box, Layout
from netwright.backends.cim.program.model import HOST, Tensor


def layout_of(tensor: Tensor, places: Sequence[tuple[int, Box]], base: int, rows: int) -> Layout | None:
    """The layout of a tensor that is made in equal blocks; None for one of the host.

    Args:
        tensor: type and shape.
        places: tiles and boxes, the last axis fastest.
        base: address on the first of the tiles.
        rows: that the buffer keeps along the stream axis, where it is a ring: the strides are the ring's; 0 for all.
    """
    if places[0][0] == HOST:
        return None
    blocks = [max(1, stop - start) for start, stop in places[0][1]]
    held = [min(rows, block) if rows and axis == tensor.stream else block for axis, block in enumerate(blocks)]
    strides = [np.dtype(tensor.dtype).itemsize] * len(blocks)
    for axis in range(len(blocks) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * held[axis + 1]
    axes = (
        AxisLayout(extent, max(1, -(-extent // block)), block, stride)
        for extent, block, stride in zip(tensor.shape, blocks, strides, strict=True)
    )
    return Layout(tuple(axes), tuple(tile for tile, _ in places), base)
