"""Grouped convolutions: on the vector unit, or as diagonal blocks of several groups side by side in arrays, by cost.

A block of g groups is a dense matrix [KH·KW·g·C/G, g·J/G] that is 0 where a row's channel and a column's output are of different groups:
arrays hold these zeros too. g is what fits the active rows, and the columns of one array where that leaves at least one group.

What is compared is energy × delay of one sample: products at a bit density of a half, all blocks side by side, one vector after the
other; against multiply-accumulates on one tile's vector unit. The same unit models as for reports.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.coding.slicing import columns_of
from netwright.backends.cim.cost.estimate import Price, on_arrays, on_vector_unit


@dataclass(frozen=True, slots=True)
class Grouping:
    """How groups are packed into diagonal blocks.

    Attributes:
        groups: G.
        channels: input channels of a group.
        outputs: output channels of a group.
        taps: KH·KW.
        side: groups of a block; the last block may have fewer.
    """

    groups: int
    channels: int
    outputs: int
    taps: int
    side: int

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """First and last + 1 group of each block."""
        return tuple((start, min(start + self.side, self.groups)) for start in range(0, self.groups, self.side))

    def matrix(self, kernel: np.ndarray, block: tuple[int, int]) -> np.ndarray:
        """A block's weights, int8 [KH·KW·g·C/G, g·J/G], of the kernel [J, C/G, KH, KW]; rows in the order (kh, kw, c)."""
        start, stop = block
        count, (_, channels, height, width) = stop - start, kernel.shape
        found = np.zeros((height, width, count, channels, count, self.outputs), np.int8)
        part = kernel[start * self.outputs : stop * self.outputs].reshape(count, self.outputs, channels, height, width)
        for index in range(count):
            found[:, :, index, :, index, :] = part[index].transpose(2, 3, 1, 0)
        return found.reshape(height * width * count * channels, count * self.outputs)


def grouping(arch: Arch, coding: Coding, *, groups: int, channels: int, outputs: int, taps: int) -> Grouping:
    """How many groups share a block on this chip."""
    by_rows = coding.rows // (taps * channels)
    by_columns = arch.array.columns // (outputs * columns_of(coding))
    return Grouping(groups, channels, outputs, taps, max(1, min(by_rows, by_columns, groups)))


def price_on_arrays(arch: Arch, coding: Coding, packing: Grouping, positions: int) -> Price:
    """Energy and time of all blocks, side by side, for one sample."""
    live = packing.taps * packing.channels
    prices = [
        on_arrays(arch, coding, rows=live * (stop - start), outputs=packing.outputs * (stop - start), vectors=positions, live=live)
        for start, stop in packing.blocks
    ]
    return Price(sum(one.pj for one in prices), max(one.ns for one in prices))


def price_on_vector_unit(arch: Arch, packing: Grouping, positions: int) -> Price:
    """Energy and time of the multiply-accumulates on one tile's vector unit."""
    return on_vector_unit(arch, positions * packing.groups * packing.taps * packing.channels * packing.outputs)
