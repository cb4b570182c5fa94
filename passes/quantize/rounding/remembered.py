"""Integers kept from one trial to the next: candidates of a search share most of their weights, and rounding is most of what one takes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar, cast

import numpy as np
import onnx_ir

from netwright.passes.quantize.integers import Blocks, Channels
from netwright.passes.quantize.rounding.base import Nearest
from netwright.passes.rewrite import Miss

MOST_BYTES = 1 << 29
"""Of integers that are kept; what comes after is rounded anew each time."""

T = TypeVar("T", Channels, Blocks)


class Remembered:
    """As `Nearest`, each weight once: by the tensor that holds it, which clones of a program share.

    Args:
        most: bytes of integers that are kept.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._nearest = Nearest()
        self._known: dict[Hashable, tuple[object, Channels | Blocks]] = {}
        self._left = most

    @property
    def misses(self) -> Sequence[Miss]:
        """None."""
        return ()

    def rows(
        self, weight: onnx_ir.Value, matrix: np.ndarray, *, bits: int, factors: np.ndarray | None = None, per_channel: bool = True
    ) -> Channels:
        """See `Rounder`."""
        key = (matrix.shape, matrix.strides, bits, None if factors is None else factors.tobytes(), per_channel)
        return self._once(weight, key, lambda: self._nearest.rows(weight, matrix, bits=bits, factors=factors, per_channel=per_channel))

    def blocks(self, weight: onnx_ir.Value, matrix: np.ndarray, *, bits: int, block_size: int, symmetric: bool) -> Blocks:
        """See `Rounder`."""
        key = (matrix.shape, matrix.strides, bits, block_size, symmetric)
        return self._once(weight, key, lambda: self._nearest.blocks(weight, matrix, bits=bits, block_size=block_size, symmetric=symmetric))

    def _once(self, weight: onnx_ir.Value, key: Hashable, made: Callable[[], T]) -> T:
        tensor = weight.const_value
        whole = (id(tensor), key)
        if whole in self._known:
            return cast("T", self._known[whole][1])
        found = made()
        if tensor is not None and found.values.nbytes <= self._left:
            self._left -= found.values.nbytes
            found.values.setflags(write=False)
            self._known[whole] = (tensor, found)  # holds the tensor, so that no other gets its id
        return found
