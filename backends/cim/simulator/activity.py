"""What the simulator counts, instruction by instruction: cost is made of this, and of nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from netwright.backends.cim.engines.base import MvmCounts
from netwright.ir.program import Program

Runner: TypeAlias = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
RegionLoader: TypeAlias = Callable[[Program], Runner]
"""Makes something that runs of a small program: netwright supplies ONNX Runtime on one thread; backends do not know each other."""


@dataclass(slots=True)
class Activity:
    """What one instruction did, over all samples.

    Attributes:
        mvm: what arrays did.
        elements: simple operations on elements, by vector units.
        macs: multiply-accumulates, by vector units.
        special: exp and the like, on elements.
        read_bytes: from the tile's memory.
        written_bytes: to the tile's memory.
        dram_read: bytes read outside the chip.
        dram_written: bytes written outside the chip.
        messages: packets sent over the mesh, those from and to outer memory included.
        sent_bytes: their payload.
        byte_hops: payload and headers times routers passed.
        cells_written: cells of arrays.
        rows_written: rows of arrays.
        engine: of a product: how it was computed.
    """

    mvm: MvmCounts | None = None
    elements: int = 0
    macs: int = 0
    special: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    dram_read: int = 0
    dram_written: int = 0
    messages: int = 0
    sent_bytes: int = 0
    byte_hops: int = 0
    cells_written: int = 0
    rows_written: int = 0
    engine: str = ""


class Trace:
    """What a run did.

    Args:
        samples: how many.
        activities: by (tile, index of the instruction in its list).
        fell_back: why a slower way was taken somewhere, as sentences: told to the user.
        later: makes the activities when they are first asked for, where they are not given.
    """

    __slots__ = ("_activities", "_later", "fell_back", "samples")

    def __init__(
        self,
        samples: int = 0,
        activities: dict[tuple[int, int], Activity] | None = None,
        fell_back: list[str] | None = None,
        *,
        later: Callable[[], dict[tuple[int, int], Activity]] = dict,
    ) -> None:
        self.samples = samples
        self.fell_back = fell_back or []
        self._activities = activities
        self._later = later

    @property
    def activities(self) -> dict[tuple[int, int], Activity]:
        """By (tile, index of the instruction in its list)."""
        if self._activities is None:
            self._activities = self._later()
        return self._activities
