"""Which coupling groups may lose units, and why the others may not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np

from netwright.ir.cost.analysis import module_of
from netwright.ir.coupling.group import Group, Kind
from netwright.ir.program import Program
from netwright.passes.planning import first_match
from netwright.passes.prune.planning.removal import lowest
from netwright.passes.rewrite import Miss

Scope = Literal["channels", "heads", "hidden", "experts", "all"]

SCOPES: Mapping[str, frozenset[Kind]] = MappingProxyType(
    {
        "channels": frozenset({"channels", "head_dim"}),
        "heads": frozenset({"heads"}),
        "hidden": frozenset({"hidden"}),
        "experts": frozenset({"experts"}),
        "all": frozenset({"channels", "heads", "head_dim", "hidden", "experts"}),
    }
)
"""Kinds of units by scope."""

WHOLE_UNITS: frozenset[Kind] = frozenset({"heads", "experts"})
"""Kinds of which any number may be kept: a unit is many channels wide."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A group whose units may go.

    Attributes:
        group: the coupling group.
        grain: kept counts are multiples of it.
    """

    group: Group
    grain: int

    @property
    def able(self) -> np.ndarray:
        """The units that can go, in ascending order."""
        return np.flatnonzero(self.group.removable)

    @property
    def most(self) -> int:
        """How many units can go together: of each part one stays."""
        return len(lowest(self.group, np.zeros(self.group.size), self.group.size))

    @property
    def names(self) -> tuple[str, str]:
        """What patterns are held against: the group's name and the module path that it came from."""
        return (self.group.name, self.group.module)


@dataclass(frozen=True, slots=True)
class Survey:
    """All groups of a scope.

    Attributes:
        candidates: that may lose units, in graph order.
        misses: the others, with reasons.
    """

    candidates: tuple[Candidate, ...]
    misses: tuple[Miss, ...] = field(default=())


def survey(
    program: Program, groups: Iterable[Group], *, scope: Scope, round_to: int, exclude: Sequence[str] = (), approximate: bool = False
) -> Survey:
    """Sort a program's groups into those that may lose units and those that stay whole.

    Args:
        program: that the groups are of.
        groups: in graph order; kinds outside the scope are passed over.
        scope: which kinds. Of an attention layer whose heads and whose features within heads could both go, `all` takes the heads.
        round_to: kept counts are multiples of it, except of heads and experts; smaller groups get a smaller one (`grain_of`).
        exclude: patterns of groups, of weights that make their units, or of the modules that read those.
        approximate: also groups whose removal is not the same as making their units zero.
    """
    taken = [group for group in groups if group.kind in SCOPES[scope]]
    misses: list[Miss] = []
    able: list[Group] = []
    for group in taken:
        reason = _obstacle(program, group, exclude, approximate)
        if reason is None:
            able.append(group)
        else:
            misses.append(Miss(reason, group.name))
    if scope == "all":
        able = _heads_first(able, misses)
    return Survey(tuple(Candidate(group, grain_of(group, round_to)) for group in able), tuple(misses))


def grain_of(group: Group, round_to: int) -> int:
    """What kept counts of a group are multiples of: `round_to`, halved while the group has fewer than two of it; 1 of heads and experts."""
    if group.kind in WHOLE_UNITS:
        return 1
    grain = max(1, round_to)
    while grain > 1 and group.size < 2 * grain:
        grain //= 2
    return grain


def _obstacle(program: Program, group: Group, exclude: Sequence[str], approximate: bool) -> str | None:
    if group.frozen:
        return f"left whole: {group.frozen}"
    pattern = first_match(exclude, _excludable(program, group)) if exclude else None
    if pattern is not None:
        return f"left whole: exclude names it ('{pattern}')"
    if group.inexact and not approximate:
        return f"left whole: {group.inexact}; approximate=True removes its units all the same"
    if group.size < 2:
        return f"left whole: it has {group.size} unit, and one must stay"
    return None


def _excludable(program: Program, group: Group) -> tuple[str, ...]:
    """Names of a group, of the weights that make its units, and of the nodes and modules that read those."""
    names = {group.name: None, group.module: None}
    for made in group.producing:
        names[made.weight] = None
        for site in made.nodes:
            names[site] = None
            names[_module(program, site)] = None
    return tuple(name for name in names if name)


def _module(program: Program, site: str) -> str:
    try:
        node = program.value(site).producer()
    except KeyError:  # inside a function's body, which has sites of its own
        return ""
    return "" if node is None else module_of(node)


def _heads_first(groups: Sequence[Group], misses: list[Miss]) -> list[Group]:
    """The groups without features of heads that can go as a whole."""
    owner: dict[tuple[str, int], str] = {}
    for group in groups:
        if group.kind == "heads":
            owner.update({(held.weight, held.axis): group.name for held in group.slices})
    kept: list[Group] = []
    for group in groups:
        heads = next((owner[key] for held in group.slices if (key := (held.weight, held.axis)) in owner), None)
        if group.kind == "head_dim" and heads is not None:
            reason = f"left whole: of this attention layer whole heads go (%{heads}); scope='channels' narrows its heads instead"
            misses.append(Miss(reason, group.name))
        else:
            kept.append(group)
    return kept
