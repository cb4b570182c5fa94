"""Buffers: how many rows each keeps, and where it lies in its tile's memory."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from math import prod

import ml_dtypes  # noqa: F401  # numpy's names of small floats
import numpy as np

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.mapping.layout import AxisLayout, Box, Layout
from netwright.backends.cim.mapping.weaving import Key, Woven
from netwright.backends.cim.program.model import HOST, Buffer, Tensor


@dataclass(frozen=True)
class Laid:
    """Buffers with their addresses.

    Attributes:
        buffers: by number.
        numbers: by tile and tensor.
        tensors: with their layouts.
    """

    buffers: tuple[Buffer, ...]
    numbers: dict[Key, int]
    tensors: dict[str, Tensor]


def lay_out(woven: Woven, tensors: dict[str, Tensor], arch: Arch) -> Laid:
    buffers: list[Buffer] = []
    numbers: dict[Key, int] = {}
    next_free: dict[int, int] = defaultdict(int)
    for (tile, name), box in woven.boxes.items():
        item = np.dtype(tensors[name].dtype).itemsize
        size = prod(b - a for a, b in box) * item
        numbers[tile, name] = len(buffers)
        buffers.append(Buffer(tile, name, box, 0 if tile == HOST else next_free[tile], size))
        next_free[tile] += -(-size // 16) * 16
    out = {}
    for name, t in tensors.items():
        places = woven.made.get(name)
        if places is None:
            continue
        out[name] = replace(t, layout=_layout(t, places, buffers[numbers[places[0][0], name]].address))
    return Laid(tuple(buffers), numbers, out)


def _layout(tensor: Tensor, places: tuple[tuple[int, Box], ...], base: int) -> Layout | None:
    """Where a tensor is made, as blocks of its axes."""
    if places[0][0] == HOST:
        return None
    first = places[0][1]
    item = np.dtype(tensor.dtype).itemsize
    strides = [item] * len(first)
    for axis in range(len(first) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * (first[axis + 1][1] - first[axis + 1][0])
    axes = tuple(
        AxisLayout(extent, -(-extent // max(1, stop - start)) or 1, max(1, stop - start), stride)
        for extent, (start, stop), stride in zip(tensor.shape, first, strides, strict=True)
    )
    return Layout(axes, tuple(tile for tile, _ in places), base)
