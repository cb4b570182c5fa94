"""What is known of each site, and its decompositions, each computed once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from netwright.passes.factorize.evidence.gradients import squared_gradients
from netwright.passes.factorize.evidence.views import views_of
from netwright.passes.factorize.lookup import Key, key_of
from netwright.passes.factorize.methods import Weighing
from netwright.passes.factorize.operator import Operator
from netwright.passes.factorize.sites import FactorSite, weight_of
from netwright.passes.factorize.structures import STRUCTURES, Decomposition
from netwright.passes.statistics import Seen, View, observe

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context

_CENTRED = frozenset({"linear", "conv", "recurrent"})
"""Kinds with a bias, which takes the mean's part of an error over."""


@dataclass(slots=True, eq=False)
class Studied:
    """One site.

    Attributes:
        operator: the weight, and how errors count.
        mean: E[x] of each group, [groups, features], where the bias is to make up for it.
        rows: how many rows are behind the moments; 0 where there are none.
    """

    operator: Operator
    mean: np.ndarray | None = None
    rows: int = 0
    _decompositions: dict[str, Decomposition] = field(default_factory=dict[str, Decomposition])
    _energy: float | None = None

    def decomposition(self, structure: str) -> Decomposition:
        """The operator in a structure; the caller sees to it that it is not refused."""
        found = self._decompositions.get(structure)
        if found is None:
            found = self._decompositions[structure] = STRUCTURES[structure](self.operator)
        return found

    @property
    def seen(self) -> bool:
        """True where something is known of how errors count."""
        return self.operator.second is not None or self.operator.scales is not None

    @property
    def energy(self) -> float:
        """E|y|², which errors are shares of."""
        if self._energy is None:
            self._energy = self.operator.energy()
        return self._energy

    def shift(self, product: np.ndarray) -> np.ndarray | None:
        """What the bias takes over, (W − Ŵ) E[x], [outputs]; None where the mean is not known."""
        if self.mean is None:
            return None
        lost = self.operator.matrices(self.operator.weight - product)
        return np.einsum("gof,gf->go", lost, self.mean).reshape(-1)


@dataclass(slots=True, eq=False)
class Study:
    """All sites of a program.

    Attributes:
        sites: by the names of their weights.
    """

    sites: dict[Key, Studied]

    def of(self, site: FactorSite) -> Studied:
        """What is known of a site."""
        return self.sites[key_of(site)]


def study(program: Program, sites: Sequence[FactorSite], weighing: Weighing, context: Context, *, centre: bool = True) -> Study:
    """Look at sites: their weights, and on calibration data what they see. Sites that see the same share their moments.

    Args:
        program: left as it is.
        sites: of it; overlapping ones (joined and apart) as well.
        weighing: how errors count.
        context: data, executor, gradients, seed, as the weighing needs them.
        centre: leave the mean to biases: second moments are covariances.

    Raises:
        DataError: the data holds no batch.
    """
    if weighing == "gradients":
        squares = squared_gradients(program, sites, context)
        return Study({key_of(site): Studied(_operator(site, scales=squares.get(key_of(site)))) for site in sites})
    seen = _seen(program, sites, weighing, context)
    looks = {key_of(site): tuple(view for view in views_of(site) if view in seen) for site in sites}
    known = _Shared(seen)
    if weighing == "moments":
        for site in sites:
            known.expect(looks[key_of(site)], centred=_centred(site, looks[key_of(site)], seen, centre=centre))
    return Study({key_of(site): _studied(site, looks[key_of(site)], seen, known, weighing, centre=centre) for site in sites})


def _studied(
    site: FactorSite, looks: tuple[View, ...], seen: Mapping[View, Seen], known: _Shared, weighing: Weighing, *, centre: bool
) -> Studied:
    """One site."""
    parts = [seen[view] for view in looks]
    if not parts:
        return Studied(_operator(site))
    if site.kind == "table":
        return _looked_up(site, parts)
    if weighing == "magnitudes":
        return _by_magnitude(site, parts)
    second, mean, rows = known.moments(looks, centred=_centred(site, looks, seen, centre=centre))
    return Studied(_operator(site, second=second), mean, rows)


def _centred(site: FactorSite, looks: Sequence[View], seen: Mapping[View, Seen], *, centre: bool) -> bool:
    """Whether a bias takes the mean over: there is one for it, and the mean of all that a place sees is known."""
    if not centre or not looks or site.kind not in _CENTRED or site.gains is None:
        return False
    return seen[looks[0]].features == math.prod(site.shape[1:])


class _Shared:
    """Second moments, each computed once for all sites that see the same; sums that nobody needs any more are let go."""

    def __init__(self, seen: Mapping[View, Seen]) -> None:
        self._seen = seen
        self._waiting: dict[tuple[tuple[View, ...], bool], None] = {}
        self._made: dict[tuple[tuple[View, ...], bool], tuple[np.ndarray, np.ndarray | None, int]] = {}

    def expect(self, looks: tuple[View, ...], *, centred: bool) -> None:
        """Keep the sums until these moments were asked for."""
        self._waiting[looks, centred] = None

    def moments(self, looks: tuple[View, ...], *, centred: bool) -> tuple[np.ndarray, np.ndarray | None, int]:
        """[groups, features, features], centred or not; means [groups, features], where centred; and how many rows they are of."""
        key = looks, centred
        if key not in self._made:
            parts = [self._seen[view] for view in looks]
            self._made[key] = (*_moments(parts, centred=centred), sum(part.rows for part in parts))
            self._waiting.pop(key, None)
            needed = {view for others, _ in self._waiting for view in others}
            for view in looks:
                if view not in needed:
                    self._seen[view].forget()
        return self._made[key]


def _operator(site: FactorSite, *, second: np.ndarray | None = None, scales: np.ndarray | None = None) -> Operator:
    return Operator(site.kind, weight_of(site), site.groups, second, scales)


def _looked_up(site: FactorSite, parts: Sequence[Seen]) -> Studied:
    """A table: errors count by how often an entry is looked up."""
    counts = np.stack([part.counts for part in parts if part.counts is not None]).sum(axis=0, dtype=np.float64)
    return Studied(_operator(site, scales=(counts / max(1.0, float(counts.sum())))[None]), rows=int(counts.sum()))


def _by_magnitude(site: FactorSite, parts: Sequence[Seen]) -> Studied:
    """E|x| of each input; where channels alone were seen, the same for all of their taps."""
    rows = sum(part.rows for part in parts)
    scales = np.stack([part.magnitudes for part in parts if part.magnitudes is not None]).sum(axis=0) / max(1, rows)
    features = scales.shape[-1] if site.kind == "deconv" else math.prod(site.shape[1:])
    return Studied(_operator(site, scales=np.repeat(scales, features // scales.shape[-1], axis=-1)), rows=rows)


def _seen(program: Program, sites: Sequence[FactorSite], weighing: Weighing, context: Context) -> Mapping[View, Seen]:
    """What all views of the sites see; views of nothing, or of what is not finite, are left out."""
    if weighing == "none":
        return {}
    assert context.calibration is not None, "checked before"
    assert context.executor is not None, "checked before"
    views = list(dict.fromkeys(view for site in sites for view in views_of(site)))
    found = observe(program, views, context.calibration, context.executor, seed=context.seed)
    return {view: seen for view, seen in found.items() if seen.counts is not None or (seen.rows and _finite(seen))}


def _finite(seen: Seen) -> bool:
    return all(bool(np.isfinite(moments.second).all()) for moments in seen.moments)


def _moments(parts: Sequence[Seen], *, centred: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Second moments [groups, features, features], and means [groups, features] where centred."""
    count = max(1, sum(part.rows for part in parts))
    groups = range(len(parts[0].moments))
    second = np.stack([np.sum([part.moments[group].second for part in parts], axis=0) / count for group in groups])
    if not centred:
        return second, None
    mean = np.stack([np.sum([part.moments[group].total for part in parts], axis=0) / count for group in groups])
    second -= mean[:, :, None] * mean[:, None, :]
    return second, mean
