"""Value maps of factors: what a stored factor is, in terms of the weight before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netwright.ir.maps import Factor, Gone, Mapped, Permute, Same, ValueMap
from netwright.ir.maps.numbers import svd_factors

TURN = Permute((1, 0))
"""A matrix transposed."""

_RIDGE = 1e-10
"""What is added to the diagonal of normal equations, relative to its mean: weights may have less than full rank."""

_NEAR = 1e-3
"""What a projection may miss of a factor, relative to the factor's norm."""


@dataclass(frozen=True, slots=True, eq=False)
class Lineage:
    """How factors come from a weight.

    Attributes:
        sources: names of the weights before.
        before: from these to the matrix that is the product of the factors.
        u, v: the factors, as value maps of that matrix; None where they are no functions of it that a map could state.
        why: what there is to say then.
    """

    sources: tuple[str, ...]
    before: ValueMap
    u: ValueMap | None
    v: ValueMap | None
    why: str

    def mapped(self, part: str, *after: ValueMap) -> Mapped:
        """How a stored factor comes from the sources.

        Args:
            part: `u` or `v`.
            after: from the factor to how it is stored.
        """
        factor = self.u if part == "u" else self.v if part == "v" else None
        if factor is None:
            return Mapped(Gone(self.why), self.sources)
        whole = self.before.then(factor)
        for link in after:
            whole = whole if isinstance(link, Same) else whole.then(link)
        return Mapped(whole, self.sources)


def lineage_of(
    sources: Sequence[str], before: ValueMap, weight: np.ndarray, u: np.ndarray, v: np.ndarray, *, turned: bool = False
) -> Lineage:
    """The lineage of W ≈ U V, where both are projections of W; of others, that they are gone.

    Args:
        sources: names of the stored weights.
        before: from these to W, or where `turned` to its transpose.
        weight: W, [m, n].
        u: [m, rank].
        v: [rank, n].
        turned: whether it is Wᵀ ≈ Vᵀ Uᵀ that is told of: Vᵀ is then its left factor.
    """
    found = _factors(weight, u, v, turned=turned)
    if found is None:
        return gone(sources, "a factor that is no projection of the weight")
    return Lineage(tuple(sources), before, found[0], found[1], "")


def gone(sources: Sequence[str], why: str) -> Lineage:
    """The lineage of stages that no map states."""
    return Lineage(tuple(sources), Same(), None, None, why)


def _factors(weight: np.ndarray, u: np.ndarray, v: np.ndarray, *, turned: bool) -> tuple[ValueMap, ValueMap] | None:
    rank = u.shape[1]
    if not (u.any() and v.any() and weight.any()):
        return None  # nothing, or shapes alone, which are lowered to be timed
    if not turned and _is_plain(weight, u, v):
        return Factor("u", rank), Factor("v", rank)
    left = np.linalg.solve(_ridged(u.T @ u), u.T).astype(np.float32)
    right = _right(weight, u).astype(np.float32)
    if not (_near(left @ weight, v) and _near(weight @ right, u)):
        return None
    if turned:
        return Factor("u", rank, right=left.T), Factor("v", rank, left=right.T)
    return Factor("u", rank, right=right), Factor("v", rank, left=left)


def _is_plain(weight: np.ndarray, u: np.ndarray, v: np.ndarray) -> bool:
    """Whether the factors are those that `Factor` has without projections; what is cheap to ask comes first."""
    rank = u.shape[1]
    if rank > min(weight.shape) or not _near(v @ v.T, np.eye(rank)) or not _near(weight @ v.T, u):
        return False
    left, right = svd_factors(weight, rank)
    return _near(left, u) and _near(right, v)


def _right(weight: np.ndarray, u: np.ndarray) -> np.ndarray:
    """R: [n, rank] with W R = U where there is one; by normal equations of the shorter side."""
    wide = weight.shape[0] <= weight.shape[1]
    gram = weight @ weight.T if wide else weight.T @ weight
    solved = np.linalg.solve(_ridged(gram), u if wide else weight.T @ u)
    return weight.T @ solved if wide else solved


def _ridged(gram: np.ndarray) -> np.ndarray:
    ridge = _RIDGE * max(float(np.trace(gram)) / len(gram), np.finfo(np.float64).tiny)
    return gram + ridge * np.eye(len(gram))


def _near(found: np.ndarray, wanted: np.ndarray) -> bool:
    return bool(np.linalg.norm(found - wanted) <= _NEAR * np.linalg.norm(wanted))
