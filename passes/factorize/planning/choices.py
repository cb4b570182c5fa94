"""The ways in which one site can be written, with their sizes, work and errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netwright.ir.cost import cost
from netwright.ir.opinfo import ints_attr
from netwright.ir.opinfo import site as site_name
from netwright.passes.factorize.evidence import Studied, Study
from netwright.passes.factorize.factors import Factors
from netwright.passes.factorize.lowering import unlowerable
from netwright.passes.factorize.sites import FactorSite
from netwright.passes.factorize.structures import STRUCTURES
from netwright.passes.factorize.structures.base import Ranks
from netwright.passes.rewrite import Miss

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netwright.ir.program import Program

SHARES = (*(0.95 - 0.05 * step for step in range(16)), 0.16, 0.13, 0.1, 0.08, 0.06, 0.045, 0.03, 0.02)
"""Shares of a site's parameters for which ways are looked for."""

FEW_SHARES = (0.8, 0.65, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05)
"""The same for structures each of whose ways takes seconds."""

_QUICK = frozenset({"low_rank", "low_rank3", "expanded"})
"""Structures whose errors are all known once one is."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One way of writing a site.

    Attributes:
        structure: name of the decomposition; empty: as it is.
        ranks: its inner sizes.
        parameters: of the factors.
        macs: multiply-accumulates in one run.
        error: share of the output's energy that is lost.
    """

    structure: str
    ranks: Ranks
    parameters: int
    macs: float
    error: float


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A site that may be factorized.

    Attributes:
        site: in the graph.
        studied: what is known of it.
        structures: that fit it.
        whole: the site as it is.
        stride: by how much convolutions thin positions out, of all axes together.
        round_to: ranks are multiples of it.
    """

    site: FactorSite
    studied: Studied
    structures: tuple[str, ...]
    whole: Choice
    stride: int
    round_to: int

    def at_most(self, parameters: int) -> Choice | None:
        """The way that loses least of those that pay and have at most so many parameters; None where there is none."""
        found = [self.of(structure, ranks) for structure in self.structures if (ranks := self._ranks(structure, parameters)) is not None]
        able = [choice for choice in found if self.pays(choice)]
        return min(able, key=lambda choice: (choice.error, choice.parameters)) if able else None

    def smallest(self) -> Choice:
        """The smallest way there is, which may pay or not: for explaining why none was found."""
        structure = self.structures[0]
        decomposition = self.studied.decomposition(structure)
        low, high = 1, self.whole.parameters
        while decomposition.ranks_for(high, self.round_to) is None:
            high *= 2
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if decomposition.ranks_for(middle, self.round_to) is not None else (middle + 1, high)
        ranks = decomposition.ranks_for(low, self.round_to)
        assert ranks is not None, "searched for"
        return self.of(structure, ranks)

    def without(self, ratio: float) -> Choice:
        """The best way without a fraction of the parameters, or the smallest that there is, which may pay or not."""
        return self.at_most(int((1 - ratio) * self.whole.parameters)) or self.smallest()

    def all(self) -> list[Choice]:
        """The site as it is, and ways of many sizes, the largest first."""
        found = {self.whole: None}
        for share in SHARES if _QUICK.issuperset(self.structures) else FEW_SHARES:
            choice = self.at_most(int(share * self.whole.parameters))
            if choice is not None:
                found[choice] = None
        return sorted(found, key=lambda choice: -choice.parameters)

    def of(self, structure: str, ranks: Ranks) -> Choice:
        """One way, counted."""
        decomposition = self.studied.decomposition(structure)
        energy = self.studied.energy
        error = decomposition.error(ranks) / energy if energy > 0 else 0.0
        return Choice(structure, ranks, decomposition.parameters(ranks), self._macs(decomposition.shapes(ranks)), error)

    def pays(self, choice: Choice) -> bool:
        """True where it is smaller and needs no more work; of a table, which needs none, the size counts alone."""
        return choice.parameters < self.whole.parameters and (self.site.kind == "table" or choice.macs <= self.whole.macs)

    def _ranks(self, structure: str, parameters: int) -> Ranks | None:
        return self.studied.decomposition(structure).ranks_for(parameters, self.round_to)

    def _macs(self, factors: Factors) -> float:
        """Of a chain: every stage at the positions that it works on."""
        site = self.site
        if site.kind == "table":
            return self.whole.macs  # the positions are not known from here; it pays or not by its size
        positions = self.whole.macs / site.parameters  # of the output; of a transposed convolution of the input
        axes = max(1, len(site.shape) - 2)
        at = positions * (self.stride if site.kind == "conv" else 1)
        total = 0.0
        for stage in factors.stages:
            step = self.stride ** (len(stage.spatial) / axes)
            if site.kind == "deconv":
                total += at * stage.array.size
                at *= step
                continue
            at /= step
            total += at * stage.array.size
        return total


def candidates(
    program: Program, sites: Sequence[FactorSite], studied: Study, structures: Sequence[str], bindings: Mapping[str, int], round_to: int
) -> list[Candidate | Miss]:
    """The sites that one of the structures fits, and why it does not fit the others.

    Args:
        program: left as it is.
        sites: of it.
        studied: what is known of them.
        structures: by name.
        bindings: sizes of symbolic dimensions.
        round_to: ranks are multiples of it.
    """
    work = {node.site: node.macs.evaluate(bindings) or 0.0 for node in program.fact(cost).nodes}
    found: list[Candidate | Miss] = []
    for site in sites:
        own = studied.of(site)
        reasons = {structure: _refusal(site, own, structure) for structure in structures}
        able = tuple(structure for structure, reason in reasons.items() if reason is None)
        if not able:
            found.append(Miss(f"left whole: {'; '.join(dict.fromkeys(str(reason) for reason in reasons.values()))}", site.name))
            continue
        if own.energy <= 0:
            found.append(Miss("left whole: on the calibration data it gives nothing but a constant", site.name))
            continue
        side = min(own.operator.matrices().shape[1:])
        if structures != ("expanded",) and side < 2 * round_to:
            found.append(Miss(f"left whole: its smaller side of {side} is under {2 * round_to}, twice round_to", site.name))
            continue
        macs = float(sum(work.get(site_name(reader.node), 0.0) for reader in site.readers)) or float(site.parameters)
        whole = Choice("", (), site.parameters, macs, 0.0)
        found.append(Candidate(site, own, able, whole, _stride(site), round_to))
    return found


def _refusal(site: FactorSite, own: Studied, structure: str) -> str | None:
    kind = STRUCTURES[structure]
    reason = kind.refusal(own.operator)
    if reason is not None:
        return reason
    if len(site.weights) > 1 and structure not in ("low_rank", "low_rank3"):
        return f"weights that are joined are not written as {structure}"
    decomposition = own.decomposition(structure)
    return unlowerable(site, decomposition.shapes(decomposition.full))


def _stride(site: FactorSite) -> int:
    node = site.readers[0].node
    return math.prod(ints_attr(node, "strides", ())) if site.kind in ("conv", "deconv") else 1
