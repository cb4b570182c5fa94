"""Ways by a number for each site: a rank, a fraction, a share of energy; and larger products, for training."""

from __future__ import annotations

from collections.abc import Sequence

from netwright.passes.factorize.planning.budget import Ways
from netwright.passes.factorize.planning.choices import Candidate, Choice
from netwright.passes.factorize.structures.expanded import least_sizes
from netwright.passes.planning import PerSite, setting_for
from netwright.passes.rewrite import Miss

STEPS = 12
"""Bisections of a site's size: it is known to 1 / 4096."""


def by_setting(
    able: Sequence[Candidate], *, rank: PerSite | None = None, ratio: PerSite | None = None, energy: PerSite | None = None
) -> tuple[Ways, list[Miss]]:
    """Each site as its number says; misses with the numbers for those that would not pay, or that no pattern names.

    Args:
        able: the sites.
        rank: inner size.
        ratio: fraction of the parameters that goes.
        energy: the least share of the output's energy that is kept.
    """
    setting = rank if rank is not None else ratio if ratio is not None else energy
    assert setting is not None, "one is given"
    ways: Ways = {}
    misses: list[Miss] = []
    for one in able:
        number = setting_for(setting, one.site.names)
        if number is None:
            misses.append(Miss("left whole: no pattern names it", one.site.name))
            continue
        choice = _ranked(one, int(number)) if rank is not None else one.without(number) if ratio is not None else _true(one, number)
        if choice.structure and one.pays(choice):
            ways[one.site.name] = choice
        else:
            misses.append(Miss(_why(one, choice, number, energy=energy is not None), one.site.name))
    return ways, misses


def expanded(able: Sequence[Candidate], inner: float, factors: int) -> tuple[Ways, list[Miss]]:
    """Each site as an exact product with inner sizes that are a multiple of its full rank."""
    ways: Ways = {}
    for one in able:
        full = least_sizes(one.studied.operator, factors)
        ways[one.site.name] = one.of("expanded", tuple(max(size, round(inner * size)) for size in full))
    return ways, []


def _ranked(one: Candidate, rank: int) -> Choice:
    """The given inner size for all inner sizes, at most the full ones."""
    structure = one.structures[0]
    full = one.studied.decomposition(structure).full
    return one.of(structure, tuple(min(rank, size) for size in full))


def _true(one: Candidate, energy: float) -> Choice:
    """The smallest way that keeps the share: bisection over sizes, for errors fall with size."""
    best = one.whole
    low, high = 0, one.whole.parameters
    for _ in range(STEPS):
        middle = (low + high) // 2
        choice = one.at_most(middle)
        if choice is not None and choice.error <= 1 - energy:
            best, high = choice, choice.parameters
        else:
            low = middle
        if high - low <= 1:
            break
    return best


def _why(one: Candidate, choice: Choice, number: float, *, energy: bool) -> str:
    if energy and not choice.structure:
        return f"left whole: nothing smaller keeps {number:.1%} of its output's energy"
    ranks = "×".join(str(rank) for rank in choice.ranks)
    if choice.parameters >= one.whole.parameters:
        return f"left whole: {choice.structure} of rank {ranks} has {choice.parameters:,} parameters, the weight {one.whole.parameters:,}"
    return f"left whole: {choice.structure} of rank {ranks} takes {choice.macs:,.0f} multiply-accumulates, the weight {one.whole.macs:,.0f}"
