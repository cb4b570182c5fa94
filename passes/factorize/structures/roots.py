"""Eigenvectors and roots of second moments."""

from __future__ import annotations

import numpy as np

from netwright.passes.statistics.positive import solve_positive

_FLOOR = 1e-9
"""Of the largest eigenvalue: directions with less are taken to have that much, so that a root has an inverse."""


def descending(moment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, none below zero, and eigenvectors of a symmetric matrix, the largest first."""
    values, vectors = np.linalg.eigh(moment)
    return np.maximum(values[::-1], 0.0), vectors[:, ::-1]


def root(moment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """S and S⁻¹ with S S = the moment, whose least eigenvalues are raised a little."""
    values, vectors = descending(moment)
    if values[0] == 0:
        return np.eye(len(values)), np.eye(len(values))
    roots = np.sqrt(np.maximum(values, _FLOOR * values[0]))
    return (vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T


def solved(targets: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """Targets · moment⁻¹ of a symmetric matrix, with a ridge of 10⁻¹² of its mean diagonal; by eigenvectors where that is not enough."""
    size = len(moment)
    ridge = float(np.trace(moment)) / size * 1e-12
    try:
        return solve_positive(moment + ridge * np.eye(size), targets.T).T
    except np.linalg.LinAlgError:
        values, vectors = descending(moment)
        seen = values > values[0] * 1e-12
        return (targets @ vectors[:, seen] / values[seen]) @ vectors[:, seen].T
