"""What tiles do, before buffers have numbers: parts of tensors read and written, and the instruction that comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np

from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.model import Instruction, Tensor

Make: TypeAlias = Callable[[tuple[int, ...], tuple[int, ...]], Instruction]
"""From the numbers of source and target buffers to the instruction."""


ROOM_SHARE = 4
"""A region takes at most this part of a tile's memory, where it can be cut."""


@dataclass(frozen=True, slots=True)
class Part:
    """A box of a tensor.

    Attributes:
        tensor: name.
        box: which part.
        host: in the host's memory, whatever the task's tile is.
    """

    tensor: str
    box: Box
    host: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One instruction to be.

    Attributes:
        tile: where.
        reads: what must be in the tile's memory.
        writes: what it makes there.
        make: the instruction.
        layer: for reports.
        keeps: by read, how many rows must be there together; 0 for all of them. Not 0 only where nothing but this read and the room
            for its results holds the task up, so that what makes the rows may wait for it.
        phase: counts the times that arrays are written anew; what belongs to different ones does not overlap.
        unit: whose arrays it needs; −1 for none.
        piece: name of the region that it runs; empty for none.
        channel: of a message that it sends or receives; −1 for none.
    """

    tile: int
    reads: tuple[Part, ...]
    writes: tuple[Part, ...]
    make: Make
    layer: str
    keeps: tuple[int, ...] = ()
    phase: int = 0
    unit: int = -1
    piece: str = ""
    channel: int = -1


def bytes_of(tensor: Tensor) -> int:
    """Bytes of a whole tensor."""
    return prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
