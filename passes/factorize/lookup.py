"""Sites by the names of their weights, joined ones too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from netwright.passes.factorize.sites import FactorSite, as_one, find_factor_sites, joined

if TYPE_CHECKING:
    from netwright.ir.program import Program

Key = tuple[str, ...]
"""The names of a site's weights, in order."""


def key_of(site: FactorSite) -> Key:
    """The names of a site's weights."""
    return tuple(weight.name or "" for weight in site.weights)


def sites_by_key(program: Program) -> Mapping[Key, FactorSite]:
    """Every site that a decision can name, recurrent states and joined weights too; linear in nodes and uses."""
    single = [found for found in find_factor_sites(program, recurrent=True) if isinstance(found, FactorSite)]
    found = {key_of(site): site for site in single}
    for group in joined(single):
        for part in _parts(group):
            one = as_one(part)
            found[key_of(one)] = one
    return found


def _parts(group: Sequence[FactorSite]) -> list[tuple[FactorSite, ...]]:
    """The whole group, and runs of it in order, for plans that a person wrote."""
    return [tuple(group[start:end]) for start in range(len(group)) for end in range(start + 2, len(group) + 1)]
