"""How many units of each group go: by a ratio, by a threshold, or by rank among the units of all groups."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from netwright.passes.planning import PerSite, setting_for
from netwright.passes.prune.planning.candidates import Candidate
from netwright.passes.prune.planning.removal import lowest
from netwright.passes.rewrite import Miss


@dataclass(frozen=True, slots=True, eq=False)
class Amounts:
    """Groups with their scores, and the ways to choose among their units.

    Attributes:
        candidates: groups that may lose units.
        scores: of their units, by group name; higher stays.
        ranks: the same on one scale for all groups; none where units are not ranked together.
        max_ratio: the largest fraction of a group that may go.
    """

    candidates: tuple[Candidate, ...]
    scores: Mapping[str, np.ndarray]
    ranks: Mapping[str, np.ndarray]
    max_ratio: float

    def by_ratio(self, ratio: PerSite) -> tuple[dict[str, tuple[int, ...]], list[Miss]]:
        """The least important fraction of each group."""
        removal: dict[str, tuple[int, ...]] = {}
        misses: list[Miss] = []
        for one in self.candidates:
            wanted = setting_for(ratio, one.names)
            if wanted is None:
                misses.append(Miss("left whole: no pattern of ratio names it", one.group.name))
                continue
            count = self.count(one, wanted)
            if count:
                removal[one.group.name] = self._least(one, count)
            else:
                misses.append(Miss(_too_few(one, wanted, self.max_ratio), one.group.name))
        return removal, misses

    def by_threshold(self, threshold: PerSite) -> tuple[dict[str, tuple[int, ...]], list[Miss]]:
        """The units whose score is not above a threshold; the best one stays where all are. Kept counts are rounded up to the grain."""
        removal: dict[str, tuple[int, ...]] = {}
        misses: list[Miss] = []
        for one in self.candidates:
            group, least = one.group, setting_for(threshold, one.names)
            if least is None:
                misses.append(Miss("left whole: no pattern of threshold names it", group.name))
                continue
            scores = self.scores[one.group.name]
            under = int(np.count_nonzero(scores[one.able] <= least))
            kept = min(group.size, max(1, math.ceil((group.size - under) / one.grain)) * one.grain)
            if kept < group.size:
                removal[group.name] = self._least(one, group.size - kept)
                continue
            if under:
                reason = f"{under} of its {group.size} units score {least:g} or less, and kept counts are multiples of {one.grain}"
            else:
                reason = f"the least of its {group.size} units scores {scores[one.able].min():.3g}, above the threshold {least:g}"
            misses.append(Miss(f"left whole: {reason}", group.name))
        return removal, misses

    def by_rank(self, ratio: float) -> tuple[dict[str, tuple[int, ...]], list[Miss]]:
        """As many units as a ratio says, weighted by their parameters, but the least important of all groups.

        No group loses more than `max_ratio`. Units are taken in as many at a time as leave a multiple of the grain.
        """
        share = min(ratio, self.max_ratio)
        goal = sum(share * one.group.size * _worth(one) for one in self.candidates)
        removal: dict[str, tuple[int, ...]] = {}
        misses: list[Miss] = []
        for one, count in zip(self.candidates, self._ranked(goal), strict=True):
            if count:
                removal[one.group.name] = self._least(one, count)
            else:
                reason = f"none of its {one.group.size} units is among the least important of all groups"
                rounding = f", taken {one.grain} at a time" if one.grain > 1 else ""
                misses.append(Miss(f"left whole: {reason}{rounding}", one.group.name))
        return removal, misses

    def count(self, one: Candidate, ratio: float) -> int:
        """How many units of a group a ratio removes: the nearest multiple of the grain stays, or all; of two as near, the larger."""
        grain, size = one.grain, one.group.size
        kept = size * (1 - min(ratio, self.max_ratio))
        rounded = max(math.floor(kept / grain + 0.5 + 1e-9) * grain, size - self._most(one))
        return 0 if size - kept <= abs(rounded - kept) else max(0, size - rounded)

    def mean_rank(self, name: str, units: Iterable[int]) -> float:
        """How important units of a group are, as a multiple of the group's mean."""
        scores = self.scores[name]
        return float(scores[list(units)].mean() / (np.abs(scores).mean() or 1.0))

    def _most(self, one: Candidate) -> int:
        """The most units that may go of a group: `max_ratio`, those that can, and a multiple of the grain is left."""
        size = one.group.size
        least = math.ceil(max(size * (1 - self.max_ratio), size - one.most) / one.grain - 1e-9)
        return max(0, size - max(1, least) * one.grain)

    def _ranked(self, goal: float) -> list[int]:
        """How many units of each group go, for so many parameters in all."""
        blocks: list[tuple[float, int, int]] = []
        for position, one in enumerate(self.candidates):
            ranks = np.sort(self.ranks[one.group.name][one.able])
            start, most = 0, self._most(one)
            while start < most:
                stop = start + (one.group.size - start) % one.grain if (one.group.size - start) % one.grain else start + one.grain
                blocks.append((float(ranks[start:stop].mean()), position, stop - start))
                start = stop
        counts = [0] * len(self.candidates)
        gone = 0.0
        for _, position, units in sorted(blocks, key=lambda block: block[:2]):
            weight = units * _worth(self.candidates[position])
            if gone + weight / 2 > goal:
                break
            counts[position] += units
            gone += weight
        return counts

    def _least(self, one: Candidate, count: int) -> tuple[int, ...]:
        return lowest(one.group, self.scores[one.group.name], count)


def _worth(one: Candidate) -> float:
    """Parameters that go with a unit, on average; at least 1, so that units without any count too."""
    return max(1.0, float(np.mean(one.group.params)))


def _too_few(one: Candidate, ratio: float, max_ratio: float) -> str:
    group = one.group
    kept = group.size * (1 - min(ratio, max_ratio))
    bound = f", {group.size - one.able.size} cannot go" if one.able.size < group.size else ""
    return f"left whole: {ratio:g} of its {group.size} units leaves {kept:g}{bound}, and kept counts are multiples of {one.grain}"
