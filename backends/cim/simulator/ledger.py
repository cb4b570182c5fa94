"""What a run's instructions did: counts are kept by step, and shared out among instructions when somebody asks.

What an instruction moves follows from the program alone, for one sample; what arrays did is counted while products are computed, once
for all instructions that a step stands for. Copies make many instructions of few steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TypeAlias

from netwright.backends.cim.engines.base import MvmCounts
from netwright.backends.cim.program.access import volume
from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.order import Place
from netwright.backends.cim.simulator.activity import Activity
from netwright.backends.cim.simulator.counting import scaled
from netwright.backends.cim.simulator.steps import Plan

Figures: TypeAlias = tuple[int | float, ...]
"""The figures of `MvmCounts`, in its order."""
_figures = attrgetter(*MvmCounts.__slots__)


@dataclass(frozen=True, slots=True)
class Share:
    """A part of what a box of a step counted.

    Attributes:
        before: elements of the parts before it.
        own: elements of its own.
        of: elements of the whole box.
    """

    before: int
    own: int
    of: int

    def taken(self, figures: Figures) -> MvmCounts:
        """Its figures: whole numbers that add up where the parts are all of the box."""
        total, start, stop = max(1, self.of), self.before, self.before + self.own
        if (start, stop) == (0, total):
            return MvmCounts(*figures)  # pyright: ignore[reportArgumentType]
        parts = [one * self.own / total if isinstance(one, float) else one * stop // total - one * start // total for one in figures]
        return MvmCounts(*parts)  # pyright: ignore[reportArgumentType]


@dataclass(slots=True)
class Ledger:
    """What one run counts.

    Attributes:
        moved: of each instruction, for one sample.
        shares: of each product's instruction: which box of which step, and how much of it.
        counted: by step and box.
        engines: how they were computed, likewise.
    """

    moved: Mapping[Place, Activity]
    shares: Mapping[Place, tuple[tuple[int, int], Share]]
    counted: dict[tuple[int, int], Figures] = field(default_factory=dict[tuple[int, int], Figures])
    engines: dict[tuple[int, int], str] = field(default_factory=dict[tuple[int, int], str])

    def count(self, step: int, box: int, counts: MvmCounts, times: int, engine: str) -> None:
        """Note what a product counted, so many times."""
        found: Figures = _figures(counts)
        if times != 1:
            found = tuple(one * times for one in found)
        before = self.counted.get((step, box))
        self.counted[step, box] = found if before is None else tuple(map(sum, zip(before, found, strict=True)))
        self.engines[step, box] = engine

    def activities(self, samples: int) -> dict[Place, Activity]:
        """Of all instructions, over so many samples."""
        found: dict[Place, Activity] = {}
        for place, one in self.moved.items():
            found[place] = activity = scaled(one, samples)
            key, share = self.shares.get(place, _NONE)
            if key in self.counted:
                activity.mvm, activity.engine = share.taken(self.counted[key]), self.engines[key]
        return found


_NONE = ((-1, -1), Share(0, 0, 0))


def shares_of(plan: Plan) -> dict[Place, tuple[tuple[int, int], Share]]:
    """What each instruction has of its step's boxes: distinct parts one after the other."""
    found: dict[Place, tuple[tuple[int, int], Share]] = {}
    for number, step in enumerate(plan.steps):
        for index, box in enumerate(step.boxes):
            inside = [(place, own) for place, own in step.places if len(step.boxes) == 1 or own == box]
            before, parts = 0, dict[Box, Share]()
            for _, own in inside:
                if own not in parts:
                    parts[own] = Share(before, volume(own), volume(box))
                    before += volume(own)
            found.update({place: ((number, index), parts[own]) for place, own in inside})
    return found
