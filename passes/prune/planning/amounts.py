"""How many units of each group go: by a ratio, by a threshold, or by rank among the units of all groups."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
        """As many units as `by_ratio` would remove, weighted by their parameters, but the least important of all groups.

        No group loses more than `max_ratio`.
        """
        goal = sum(self.count(one, ratio) * _worth(one) for one in self.candidates)
        counts = self._ranked(goal)
        removal: dict[str, tuple[int, ...]] = {}
        misses: list[Miss] = []
        for one in self.candidates:
            count = self._rounded(one, one.group.size - counts[one.group.name])
            if count:
                removal[one.group.name] = self._least(one, count)
            else:
                gone = counts[one.group.name]
                reason = f"{gone} of its {one.group.size} units are among the least important of all groups"
                rounding = f", and kept counts are multiples of {one.grain}" if gone else ""
                misses.append(Miss(f"left whole: {reason}{rounding}", one.group.name))
        return removal, misses

    def count(self, one: Candidate, ratio: float) -> int:
        """How many units of a group a ratio removes: the nearest multiple of the grain stays, or all; of two as near, the larger."""
        return self._rounded(one, one.group.size * (1 - min(ratio, self.max_ratio)))

    def _rounded(self, one: Candidate, kept: float) -> int:
        grain, size = one.grain, one.group.size
        steps = math.floor(kept / grain + 0.5 + 1e-9)
        least = max(1, math.ceil(max(size * (1 - self.max_ratio), size - one.most) / grain - 1e-9))
        rounded = max(steps, least) * grain
        return 0 if size - kept <= abs(rounded - kept) else max(0, size - rounded)

    def _ranked(self, goal: float) -> dict[str, int]:
        """How many units of each group go, before rounding, for so many parameters in all."""
        rows: list[tuple[float, int]] = []
        for position, one in enumerate(self.candidates):
            most = math.floor(one.group.size * self.max_ratio + 1e-9)
            rows.extend((float(rank), position) for rank in np.sort(self.ranks[one.group.name][one.able])[:most])
        counts = [0] * len(self.candidates)
        gone = 0.0
        for _, position in sorted(rows):
            worth = _worth(self.candidates[position])
            if gone + worth / 2 > goal:
                break
            counts[position] += 1
            gone += worth
        return {one.group.name: count for one, count in zip(self.candidates, counts, strict=True)}

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
