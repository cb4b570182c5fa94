"""Eigenvectors and roots of second moments."""

from __future__ import annotations

import numpy as np

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
    """Targets · moment⁺, the pseudo-inverse of a symmetric matrix leaving out what is noise."""
    values, vectors = descending(moment)
    seen = values > values[0] * 1e-12
    kept = vectors[:, seen]
    return (targets @ kept / values[seen]) @ kept.T
