"""Least squares with a ridge that held-out rows choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from netwright.passes.statistics import Moments, solve_positive
from netwright.passes.statistics.supported import solve_supported

RIDGES = (1e-1, 1e-2, 1e-3, 1e-4)
"""Added to the covariance's diagonal, as shares of its mean; the one that held-out rows like best is taken."""

WIDE = 2048
"""From so many features on the last of them is left out: each costs a factorisation, cubic in the features."""

Constant = Literal["free", "costly", "none"]
"""Whether a layer has a place for a constant, would need a node for it, or can have none."""

GAIN = 0.01
"""A constant that costs a node is added only where the error falls by this share of what it is now."""


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
        before, after: relative error on held-out rows, without and with it; infinite where rows are not finite.
    """

    delta: np.ndarray
    shift: np.ndarray
    before: float
    after: float


def solve(
    fit: Moments, held: Held, *, metric: np.ndarray | None = None, constant: Constant = "free", free: np.ndarray | None = None
) -> Solution:
    """Min over ΔM, s of E|r − ΔM x − s|² + λ|ΔM|², λ and whether s is worth its while chosen on held-out rows.

    ΔM = C_rx (C_xx + λI)⁻¹ with covariances, s = E[r] − ΔM E[x]. The ridge draws the layer to the one that removal left, so that few
    rows change it little. What is returned is solved again on all rows, with the λ that the held-out ones chose.

    Args:
        fit: moments of x with r as targets; the held-out rows are added to them.
        held: rows to judge by.
        metric: M of the error eᵀ M e, where targets do not count alike, [targets, targets].
        constant: whether s may differ from zero.
        free: elements of ΔM that may differ from zero, bool [targets, features]; all where not given.
    """
    before = _error(held, held.residual, metric)
    if not (np.isfinite(before) and np.isfinite(fit.second).all() and np.isfinite(fit.cross).all()):
        return Solution(np.zeros((fit.targets, fit.features)), np.zeros(fit.targets), np.inf, np.inf)
    best, chosen = before, (None, False)
    for with_constant in {"free": (True,), "none": (False,), "costly": (False, True)}[constant]:
        error, ridge = _best_ridge(fit, held, metric, with_constant, free)
        if error < best - (GAIN * before if with_constant and constant == "costly" else 0.0):
            best, chosen = error, (ridge, with_constant)
    if best < before:
        fit.add(held.x, held.residual)
        delta, shift = _fitted(fit, *chosen, free)
    else:
        delta, shift = np.zeros((fit.targets, fit.features)), np.zeros(fit.targets)
    return Solution(delta, shift, before, best)


def _best_ridge(fit: Moments, held: Held, metric: np.ndarray | None, constant: bool, free: np.ndarray | None) -> tuple[float, float | None]:
    """The lowest error on held-out rows, and the ridge that it takes; None for the constant alone."""
    best: tuple[float, float | None] = (np.inf, None)
    for ridge in (None, *(RIDGES if fit.features < WIDE else RIDGES[:-1])):
        delta, shift = _fitted(fit, ridge, constant, free)
        error = _error(held, held.residual - held.x @ delta.T.astype(held.x.dtype) - shift, metric)
        if error < best[0]:
            best = error, ridge
        elif ridge is not None and best[1] is not None:
            break  # ridges fall: where one overfits, smaller ones do too
    return best


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
