"""Where tensors lie when they are made, as layouts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from netwright.backends.cim.program.layout import AxisLayout, Box, Layout
from netwright.backends.cim.program.model import HOST, Buffer, Tensor


def layout_of(tensor: Tensor, places: Sequence[tuple[int, Box]], buffers: Mapping[int, Buffer]) -> Layout | None:
    """The layout of a tensor that is made in equal blocks; None for one of the host.

    Blocks that one tile makes lie one after the other in its buffer, each in row-major order. Of a ring the strides are the ring's, and
    rows along the stream axis count modulo it.

    Args:
        tensor: type and shape.
        places: tiles and boxes, the last axis fastest.
        buffers: that hold it, by tile.
    """
    if places[0][0] == HOST:
        return None
    blocks = [max(1, stop - start) for start, stop in places[0][1]]
    held = _held(blocks, tensor.stream, buffers[places[0][0]].ring)
    size = np.dtype(tensor.dtype).itemsize
    strides = [size] * len(blocks)
    for axis in range(len(blocks) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * held[axis + 1]
    axes = (
        AxisLayout(extent, max(1, -(-extent // block)), block, stride)
        for extent, block, stride in zip(tensor.shape, blocks, strides, strict=True)
    )
    before: Counter[int] = Counter()
    bases: list[int] = []
    for tile, _ in places:
        bases.append(buffers[tile].address + before[tile] * prod(_held(blocks, tensor.stream, buffers[tile].ring)) * size)
        before[tile] += 1
    return Layout(tuple(axes), tuple(tile for tile, _ in places), tuple(bases))


def _held(blocks: Sequence[int], stream: int, ring: int) -> list[int]:
    """Sizes of what a buffer keeps of a block."""
    return [min(ring, block) if ring and axis == stream else block for axis, block in enumerate(blocks)]
