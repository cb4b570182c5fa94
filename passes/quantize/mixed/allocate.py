"""One option for each unit, so that the errors' sum is least within a limit on the costs' sum: integer programming."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np

K = TypeVar("K", bound=Hashable)

GAP = 1e-4
"""How far from the best sum, relatively, the solver may stop."""

SECONDS = 20.0
"""After which it takes the best that it has: with a hundred units it needs some hundredths of a second."""


@dataclass(frozen=True, slots=True)
class Option:
    """What a unit can be.

    Attributes:
        bits: of its weights.
        cost: counted against the limit.
        error: that it adds at the outputs.
    """

    bits: int
    cost: float
    error: float


def least_error(options: Mapping[K, Sequence[Option]], limit: float) -> dict[K, Option] | None:
    """The options whose errors add up to the least while their costs stay within the limit; None where the cheapest do not.

    A multiple-choice knapsack, solved to `GAP` by branch and bound (HiGHS, through scipy). Options that cost more and err more than
    another of their unit are left out before.

    Args:
        options: of each unit, at least one.
        limit: of the sum of costs.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # pyright: ignore[reportUnknownVariableType]
    from scipy.sparse import csr_array

    useful = {key: _useful(own) for key, own in options.items()}
    if sum(min(one.cost for one in own) for own in useful.values()) > limit * (1 + 1e-12):
        return None
    if not useful:
        return {}
    flat = [(row, one) for row, own in enumerate(useful.values()) for one in own]
    errors = np.array([one.error for _, one in flat])
    costs = np.array([one.cost for _, one in flat])
    known = np.where(np.isfinite(errors), errors, 0.0)
    errors = np.where(np.isfinite(errors), errors, 1e3 * max(known.sum(), 1.0))
    # the solver's tolerances are absolute: as many units as there are make a sum of about one each
    scale = max(float(np.median(errors)), float(errors.max()) * 1e-9, 1e-300)
    rows = np.array([row for row, _ in flat])
    one_each = csr_array((np.ones(len(flat)), (rows, np.arange(len(flat)))), shape=(len(useful), len(flat)))
    found = milp(
        errors / scale,
        integrality=np.ones(len(flat)),
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(one_each, 1, 1),
            LinearConstraint(csr_array((costs / max(limit, 1e-300))[None, :]), -np.inf, 1.0),
        ],
        options={"mip_rel_gap": GAP, "time_limit": SECONDS},
    )
    solution = cast("np.ndarray | None", found.x)
    if solution is None:  # out of time without any
        return {key: min(own, key=lambda one: one.cost) for key, own in useful.items()}
    chosen = np.flatnonzero(solution > 0.5)
    return {key: flat[int(at)][1] for key, at in zip(useful, chosen, strict=True)}


def _useful(options: Sequence[Option]) -> list[Option]:
    """Without those that another, no dearer, errs less than; the cheapest first."""
    kept: list[Option] = []
    for one in sorted(options, key=lambda one: (one.cost, one.error, -one.bits)):
        if not kept or one.error < kept[-1].error:
            kept.append(one)
    return kept
