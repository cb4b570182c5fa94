"""Least squares with a ridge that held-out rows choose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netwright.passes.statistics import Moments, solve_positive
from netwright.passes.statistics.supported import solve_supported

RIDGES = (1e-1, 1e-2, 1e-3, 1e-4)
"""Added to the covariance's diagonal, as shares of its mean; the one that held-out rows like best is taken."""

WIDE = 2048
"""From so many features on the last of them is left out: each costs a factorisation, cubic in the features."""

GAIN = 0.99
"""A constant that the graph has no place for yet is added only where the error falls to this share of what it is without."""


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Rows that are not fitted to.

    Attributes:
        x: [rows, features].
        residual: what is missing of each row's target, [rows, targets].
        energy: Σ of squares of the targets themselves, about their mean, that errors are relative to.
    """

    x: np.ndarray
    residual: np.ndarray
    energy: float


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """What is added to a layer.

    Attributes:
        delta: to its matrix, [targets, features].
        shift: to its bias, [targets].
        before, after: relative error on held-out rows, without and with it.
    """

    delta: np.ndarray
    shift: np.ndarray
    before: float
    after: float


def solve(
    fit: Moments, held: Held, *, metric: np.ndarray | None = None, free_constant: bool = True, free: np.ndarray | None = None
) -> Solution:
    """Min over ΔM, s of E|r − ΔM x − s|² + λ|ΔM|², λ and whether s is worth its while chosen on held-out rows.

    ΔM = C_rx (C_xx + λI)⁻¹ with covariances, s = E[r] − ΔM E[x]. The ridge draws the layer to the one that removal left, so that few
    rows change it little. What is returned is solved again on all rows, with the λ that the held-out ones chose.

    Args:
        fit: moments of x with r as targets; the held-out rows are added to them.
        held: rows to judge by.
        metric: M of the error eᵀ M e, where targets do not count alike, [targets, targets].
        free_constant: whether s costs nothing; otherwise it is used only where it gains.
        free: elements of ΔM that may differ from zero, bool [targets, features]; all where not given.
    """
    before = _error(held, held.residual, metric)
    best, chosen = before, (None, False)
    ridges = RIDGES if fit.features < WIDE else RIDGES[:-1]
    for ridge in (None, *ridges):
        lowest = best
        for constant in (True,) if free_constant else (False, True):
            delta, shift = _fitted(fit, ridge, constant, free)
            error = _error(held, held.residual - held.x @ delta.T.astype(held.x.dtype) - shift, metric)
            bar = best if free_constant or not constant or chosen[1] else best * GAIN
            if error < bar:
                best, chosen = error, (ridge, constant)
        if ridge is not None and best == lowest:
            break  # from larger to smaller: once it overfits, it goes on to
    if best < before:
        fit.add(held.x, held.residual)
        delta, shift = _fitted(fit, *chosen, free)
    else:
        delta, shift = np.zeros((fit.targets, fit.features)), np.zeros(fit.targets)
    return Solution(delta, shift, before, best)


def _fitted(fit: Moments, ridge: float | None, constant: bool, free: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """ΔM and s for one ridge; without a ridge, the constant alone."""
    covariance, cross = (fit.covariance(), fit.cross_covariance()) if constant else (fit.raw(), fit.cross / max(1, fit.count))
    spread = float(np.trace(covariance)) / max(1, fit.features)
    if ridge is None or spread <= 0:
        delta = np.zeros((fit.targets, fit.features))
    elif free is not None:
        delta = solve_supported(covariance + ridge * spread * np.eye(fit.features), cross, free)
    else:
        delta = solve_positive(covariance + ridge * spread * np.eye(fit.features), cross.T).T
    shift = fit.target_mean - delta @ fit.mean if constant else np.zeros(fit.targets)
    return delta, shift


def _error(held: Held, left: np.ndarray, metric: np.ndarray | None) -> float:
    """|e| / |target| over the held-out rows."""
    rows = left.astype(np.float64)
    squared = float(np.vdot(rows, rows) if metric is None else np.vdot(rows @ metric, rows))
    return float(np.sqrt(squared / held.energy)) if held.energy > 0 else float(squared > 0)
