"""Whether weights that see the same data are factorized together, with one right factor for all."""

from __future__ import annotations

from collections.abc import Sequence

from netwright.passes.factorize.evidence import Studied, Study
from netwright.passes.factorize.sites import FactorSite, as_one, joined

SHARE = 0.5
"""Of the parameters: the size at which the two ways are compared."""


def with_joined(sites: Sequence[FactorSite]) -> list[FactorSite]:
    """The sites, and every joined one beside its parts."""
    return [*sites, *(as_one(group) for group in joined(list(sites)))]


def choose_joined(sites: Sequence[FactorSite], studied: Study, *, joint: bool | None) -> list[FactorSite]:
    """The sites with those groups joined that lose less so, at half of their parameters; all groups, where asked for.

    Args:
        sites: not joined.
        studied: has the joined ones too.
        joint: True for all, else those that gain.
    """
    replaced: dict[str, FactorSite | None] = {}
    for group in joined(list(sites)):
        one = as_one(group)
        if joint or _error(studied.of(one)) < sum(_error(studied.of(part)) for part in group):
            replaced |= dict.fromkeys((part.name for part in group), None)
            replaced[one.name] = one
    return [kept for site in sites if (kept := replaced.get(site.name, site)) is not None]


def _error(own: Studied) -> float:
    decomposition = own.decomposition("low_rank")
    ranks = decomposition.ranks_for(int(SHARE * own.operator.weight.size))
    return own.energy if ranks is None else decomposition.error(ranks)
