"""The integers that a matrix may become: one step and zero point for each block of each row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netwright.passes.quantize.integers import Blocks, Channels, packed, unpacked


@dataclass(frozen=True, slots=True)
class Grid:
    """`low` to `high`, less `middle`, times `step`, for a matrix [outputs, features].

    Attributes:
        step: float32 [outputs, blocks], positive.
        middle: the integer of zero, float32 [outputs, blocks].
        low: the least integer.
        high: the largest.
        block_size: features that share a step; the last block may be shorter.
    """

    step: np.ndarray
    middle: np.ndarray
    low: int
    high: int
    block_size: int

    @classmethod
    def of_channels(cls, found: Channels, bits: int, features: int) -> Grid:
        """Signed integers, one step for each row (or one for all)."""
        rows = len(found.values)
        step = np.broadcast_to(found.scale.astype(np.float32).reshape(-1, 1), (rows, 1))
        return cls(step, np.zeros_like(step), -(1 << (bits - 1)), (1 << (bits - 1)) - 1, max(1, features))

    @classmethod
    def of_blocks(cls, found: Blocks, bits: int, block_size: int) -> Grid:
        """Unsigned integers in blocks."""
        blocks = found.scale.shape[1]
        middle = np.full(found.scale.shape, 1 << (bits - 1), np.float32)
        if found.zero_point is not None:
            middle = unpacked(found.zero_point, bits)[:, :blocks].astype(np.float32)
        return cls(found.scale, middle, 0, (1 << bits) - 1, block_size)

    def rows(self, part: slice) -> Grid:
        """The grid of some rows."""
        return Grid(self.step[part], self.middle[part], self.low, self.high, self.block_size)

    def spread(self, features: int) -> tuple[np.ndarray, np.ndarray]:
        """Step and zero point of each element, [outputs, features]; of one block, [outputs, 1]."""
        if self.step.shape[1] == 1:
            return self.step, self.middle
        return tuple(np.repeat(one, self.block_size, axis=1)[:, :features] for one in (self.step, self.middle))  # type: ignore[return-value]

    def nearest(self, matrix: np.ndarray) -> np.ndarray:
        """The nearest integers, float32 [outputs, features]."""
        step, middle = self.spread(matrix.shape[1])
        return np.clip(np.rint(matrix / step) + middle, self.low, self.high)

    def weights(self, integers: np.ndarray) -> np.ndarray:
        """What integers stand for, float32 [outputs, features]."""
        step, middle = self.spread(integers.shape[1])
        return (integers.astype(np.float32) - middle) * step

    def channels(self, integers: np.ndarray, *, per_channel: bool) -> Channels:
        """As they are stored, signed."""
        scale = self.step[:, 0]
        return Channels(integers.astype(np.int8), np.ascontiguousarray(scale if per_channel else scale[:1]))

    def blocks(self, integers: np.ndarray, bits: int, *, symmetric: bool, factors: np.ndarray | None = None) -> Blocks:
        """As they are stored, in blocks; the last one is filled up with zeros of its own."""
        rows, features = integers.shape
        count = self.step.shape[1]
        whole = np.repeat(self.middle, self.block_size, axis=1).astype(np.uint8)
        whole[:, :features] = integers
        values = packed(whole.reshape(rows, count, self.block_size), bits)
        return Blocks(values, self.step, None if symmetric else packed(self.middle.astype(np.uint8), bits), factors)
