"""What turns float weights into integers on a grid: the interface that every scheme stores its weights through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnx_ir

from netwright.passes.memory import release_pages
from netwright.passes.quantize.integers import Blocks, Channels, by_rows, in_blocks
from netwright.passes.rewrite import Miss


class Rounder(Protocol):
    """Rounds weights that it knows by the constants that hold them.

    Matrices are [outputs, features]: of a product W.T of the stored [rows, columns], of a convolution the weight's axes after the first
    flattened (channels of a group, then taps), of a table the entries.
    """

    @property
    def misses(self) -> Sequence[Miss]:
        """Of the weights rounded so far, those that went to the nearest integers against the plan's word, with the reason."""
        ...

    def rows(
        self, weight: onnx_ir.Value, matrix: np.ndarray, *, bits: int, factors: np.ndarray | None = None, per_channel: bool = True
    ) -> Channels:
        """Signed integers, one scale for each row or one in all; `factors`, [features], are multiplied in first."""
        ...

    def blocks(self, weight: onnx_ir.Value, matrix: np.ndarray, *, bits: int, block_size: int, symmetric: bool) -> Blocks:
        """Unsigned integers in blocks along features."""
        ...


@dataclass(frozen=True, slots=True)
class Nearest:
    """Each weight to the nearest integer, on scales that lose least of the weights themselves."""

    @property
    def misses(self) -> Sequence[Miss]:
        """None."""
        return ()

    def rows(
        self, weight: onnx_ir.Value, matrix: np.ndarray, *, bits: int, factors: np.ndarray | None = None, per_channel: bool = True
    ) -> Channels:
        """See `Rounder`."""
        found = by_rows(matrix, bits=bits, factors=factors, per_channel=per_channel)
        release_pages(weight)
        return found

    def blocks(self, weight: onnx_ir.Value, matrix: np.ndarray, *, bits: int, block_size: int, symmetric: bool) -> Blocks:
        """See `Rounder`."""
        found = in_blocks(matrix, bits=bits, block_size=block_size, symmetric=symmetric)
        release_pages(weight)
        return found
