"""What a run's instructions did: counts are kept by step, and shared out among instructions when somebody asks.

What an instruction moves follows from the program alone, for one sample; what arrays did is counted while products are computed, once
for all instructions that a step stands for. Copies make many instructions of few steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import TypeAlias

import numpy as np

from netwright.backends.cim.engines.base import MvmCounts
from netwright.backends.cim.program.access import volume
from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.order import Place
from netwright.backends.cim.simulator.activity import Activity
from netwright.backends.cim.simulator.counting import scaled
from netwright.backends.cim.simulator.steps import Plan

Figures: TypeAlias = tuple[int | float, ...]
"""The figures of `MvmCounts`, in its order."""
_NAMES = tuple(one.name for one in fields(MvmCounts))
_figures = attrgetter(*_NAMES)
_CHARGE = _NAMES.index("charge")
"""The one figure that is not whole."""

Part: TypeAlias = tuple[int, int]
"""A step's number and the number of one of its boxes."""


@dataclass(frozen=True, slots=True)
class Shares:
    """How what steps count is shared out.

    Attributes:
        parts: of each step's box, the elements of the distinct boxes that instructions make of it, and of the whole.
        places: of each product's instruction, the box of a step, and which of its parts.
    """

    parts: Mapping[Part, tuple[Sequence[int], int]]
    places: Mapping[Place, tuple[Part, int]]


@dataclass(slots=True)
class Ledger:
    """What one run counts.

    Attributes:
        moved: of each instruction, for one sample.
        shares: of instructions in what steps count.
        counted: by step and box.
        engines: how they were computed, likewise.
    """

    moved: Mapping[Place, Activity]
    shares: Shares
    counted: dict[Part, Figures] = field(default_factory=dict[Part, Figures])
    engines: dict[Part, str] = field(default_factory=dict[Part, str])

    def count(self, at: Part, counts: MvmCounts, times: int, engine: str) -> None:
        """Note what a product counted, so many times."""
        found: Figures = _figures(counts)
        if times != 1:
            found = tuple(one * times for one in found)
        before = self.counted.get(at)
        self.counted[at] = found if before is None else tuple(map(sum, zip(before, found, strict=True)))
        self.engines[at] = engine

    def activities(self, samples: int) -> dict[Place, Activity]:
        """Of all instructions, over so many samples."""
        shared = {at: shared_out(figures, *self.shares.parts[at]) for at, figures in self.counted.items()}
        found: dict[Place, Activity] = {}
        for place, one in self.moved.items():
            found[place] = activity = scaled(one, samples)
            at, number = self.shares.places.get(place, _NOWHERE)
            if at in shared:
                activity.mvm, activity.engine = MvmCounts(*shared[at][number]), self.engines[at]  # pyright: ignore[reportArgumentType]
        return found


_NOWHERE = ((-1, -1), 0)


def shared_out(figures: Figures, parts: Sequence[int], total: int) -> list[Sequence[int | float]]:
    """Figures for parts of a whole, in proportion; where they are all of it, whole numbers that add up to what is shared out."""
    if len(parts) == 1 and parts[0] == total:
        return [figures]
    stops = np.cumsum(np.array(parts, np.int64))[:, None]
    starts = stops - np.array(parts, np.int64)[:, None]
    over = max(1, total)
    quotients, rests = np.divmod(np.array([int(one) for one in figures], np.int64), over)  # a whole has fewer than 2^31 elements
    upper, lower = (quotients * edges + rests * edges // over for edges in (stops, starts))
    rows: list[list[int | float]] = (upper - lower).tolist()
    for row, part in zip(rows, parts, strict=True):
        row[_CHARGE] = figures[_CHARGE] * part / over
    return list(rows)


def shares_of(plan: Plan) -> Shares:
    """What each instruction has of its step's boxes."""
    parts: dict[Part, tuple[Sequence[int], int]] = {}
    places: dict[Place, tuple[Part, int]] = {}
    for number, step in enumerate(plan.steps):
        for index, box in enumerate(step.boxes):
            inside = [(place, own) for place, own in step.places if len(step.boxes) == 1 or own == box]
            numbers: dict[Box, int] = {}
            for place, own in inside:
                places[place] = ((number, index), numbers.setdefault(own, len(numbers)))
            parts[number, index] = ([volume(own) for own in numbers], volume(box))
    return Shares(parts, places)
