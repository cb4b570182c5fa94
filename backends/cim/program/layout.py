"""Where the elements of a tensor lie: a distribution over tile memories, axis by axis.

Axis d has extent n, is spread over a grid of P places in blocks of b: element i is at place (i // b) mod P, and there at local position
(i // (b·P))·b + i mod b. A tile is the mixed radix of its places over all axes, looked up in `tiles`; the address in its memory is
base of that place + Σ local_d · stride_d, so that any order of axes is a matter of strides. b = ⌈n/P⌉ is a block distribution, b = 1 a
cyclic one; P = 1 everywhere with several tiles is a replicated tensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Box: TypeAlias = tuple[tuple[int, int], ...]
"""Half-open ranges, one for each axis."""


@dataclass(frozen=True, slots=True)
class AxisLayout:
    """One axis.

    Attributes:
        extent: its size n.
        grid: places P that it is spread over.
        block: consecutive elements b at a place.
        stride: bytes from one local element to the next.
    """

    extent: int
    grid: int
    block: int
    stride: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A tensor's distribution.

    Attributes:
        axes: one for each axis.
        tiles: tile by mixed radix of places, the last axis fastest; where every grid is 1, all the tiles that hold a copy.
        bases: address of the first element at each place, in the order of `tiles`; parts need not lie at the same address everywhere.
            Where a buffer has room for several samples, these are of its first copy.
    """

    axes: tuple[AxisLayout, ...]
    tiles: tuple[int, ...]
    bases: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""
        return tuple(axis.extent for axis in self.axes)

    def places(self, elements: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The tile of each element, and its address there; of a replicated tensor, on the first of the tiles.

        Args:
            elements: indices, int64 [axes, n].
        """
        digits = np.zeros(elements.shape[1], dtype=np.int64)
        offsets = np.zeros_like(digits)
        for axis, index in zip(self.axes, elements, strict=True):
            digits = digits * axis.grid + index // axis.block % axis.grid
            offsets += (index // (axis.block * axis.grid) * axis.block + index % axis.block) * axis.stride
        return np.asarray(self.tiles)[digits], np.asarray(self.bases)[digits] + offsets
