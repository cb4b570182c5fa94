"""Units by what removing them costs their consumers when the units that are left make up for it by least squares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from netwright.ir.coupling.group import Group
from netwright.passes.prune.importance.evidence import Evidence

RIDGE = 1e-3
"""Added to the covariance's diagonal, as a share of its mean: units that the data shows to be equal are not trusted to be."""

STEPS = 256
"""Units go one by one in groups of up to so many; of larger ones several at a time."""


SHRINK = 0.75
"""Once so few of a matrix's channels are left, the others are cut away."""


@dataclass(slots=True, eq=False)
class _Site:
    """An activation with the weights that it meets.

    Attributes:
        inverse: (C + λI)⁻¹ over the channels left, zero elsewhere, [channels, channels].
        gram: WᵀW likewise, W being the consumers' weights after the least squares so far, each relative to its output's energy.
        channels: of each unit.
    """

    inverse: np.ndarray
    gram: np.ndarray
    channels: list[np.ndarray]

    def costs(self, left: np.ndarray) -> np.ndarray:
        """tr((P_uu)⁻¹ G_uu) for each unit left: by how much the error grows without it."""
        found = np.zeros(len(left))
        own = [self.channels[int(unit)] for unit in left]
        for width in {len(channels) for channels in own} - {0}:
            alike = [place for place, channels in enumerate(own) if len(channels) == width]
            index = np.stack([own[place] for place in alike])
            if width == 1:
                found[alike] = self.gram[index[:, 0], index[:, 0]] / self.inverse[index[:, 0], index[:, 0]]
                continue
            rows, columns = index[:, :, None], index[:, None, :]
            found[alike] = np.trace(np.linalg.solve(self.inverse[rows, columns], self.gram[rows, columns]), axis1=1, axis2=2)
        return found

    def remove(self, units: np.ndarray) -> None:
        """W ← W − W_u (P_uu)⁻¹ P_u·, so G ← G − A S − (A S)ᵀ, S = (P_uu)⁻¹ P_u·, A = G_·u − ½ Sᵀ G_uu; and P ← P − P_·u S."""
        own = np.concatenate([self.channels[int(unit)] for unit in units])
        if not len(own):
            return
        rows = self.inverse[own]
        spread = np.linalg.solve(rows[:, own], rows)
        change = (self.gram[:, own] - 0.5 * spread.T @ self.gram[np.ix_(own, own)]) @ spread
        self.gram -= change
        self.gram -= change.T
        self.inverse -= rows.T @ spread

    def shrink(self, left: np.ndarray) -> None:
        """Cut away what belongs to units that are gone, where that is much. Channels of other groups stay."""
        kept = np.ones(len(self.inverse), bool)
        for unit in np.setdiff1d(np.arange(len(self.channels)), left):
            kept[self.channels[int(unit)]] = False
        if kept.mean() > SHRINK:
            return
        index = np.flatnonzero(kept)
        self.inverse, self.gram = self.inverse[np.ix_(index, index)], self.gram[np.ix_(index, index)]
        place = np.cumsum(kept) - 1
        self.channels = [place[channels[kept[channels]]] for channels in self.channels]


def reconstruction(group: Group, evidence: Evidence) -> np.ndarray | str:
    """How much the error of the consumers' outputs grows when a unit goes and the rest is solved anew, as a share of their variance.

    Backward elimination: the cheapest unit goes first, the others take over what they can, and so on, so that of two units that say the
    same only one is cheap. One step is that of Hassibi & Stork (Optimal brain surgeon, 1993) for the layer's own error, by units; a unit's
    score is what its own step costs, and at least what any step before it did. Cubic in the channels of a consumer.
    """
    if not evidence.consumers(group):
        return "no layer whose activations can be seen consumes its units"
    sites = list(_sites(group, evidence))
    scores = np.zeros(group.size)
    left = np.arange(group.size)
    each = max(1, group.size // STEPS)
    worst = 0.0
    while len(left):
        costs = np.mean([site.costs(left) for site in sites], axis=0)
        going = np.argsort(costs, kind="stable")[:each]
        scores[left[going]] = np.maximum(worst, costs[going])
        worst = float(scores[left[going]].max())
        for site in sites:
            site.remove(left[going])
        left = np.delete(left, going)
        for site in sites:
            site.shrink(left)
    return scores


def _sites(group: Group, evidence: Evidence) -> Iterator[_Site]:
    """One for each activation; consumers that read the same one are solved alike."""
    for value, moments in evidence.moments(group).items():
        covariance = moments.covariance()
        n = moments.features
        gram = np.zeros((n, n))
        consumers = [one for one in evidence.consumers(group) if one.value == value]
        for one in consumers:
            width = n // one.groups
            rows = one.by_channel(evidence.weight(one.part.weight)).astype(np.float64)
            own = np.zeros((n, n))
            for start in range(0, n, width):
                block = slice(start, start + width)
                own[block, block] = rows[block] @ rows[block].T
            gram += own / ((covariance * own).sum() or 1.0) / len(consumers)
        ridge = RIDGE * float(np.trace(covariance)) / n or 1.0
        inverse = np.linalg.inv(covariance + ridge * np.eye(n))
        units = consumers[0].units
        yield _Site(inverse, gram, [np.flatnonzero(units == unit) for unit in range(group.size)])
