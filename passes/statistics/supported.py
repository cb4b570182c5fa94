"""Least squares whose solution is zero outside a mask: each row has unknowns of its own, all rows are solved side by side."""

from __future__ import annotations

import numpy as np

STEPS = 100
"""Conjugate gradient steps at most; each costs one product with the matrix, for all rows together."""

TOLERANCE = 1e-3
"""A row whose gradient, in the diagonal's metric, has fallen to this share of its first is done."""


def solve_supported(matrix: np.ndarray, right: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Min over X of tr(X A Xᵀ) − 2 tr(X Rᵀ), X zero outside `free`: by conjugate gradients, with A's diagonal as preconditioner.

    Factorising a matrix for each row would cost the cube of its unknowns; here every step leaves each row's error no larger than before,
    so that stopping early is safe.

    Args:
        matrix: A, symmetric and positive definite, float64 [features, features].
        right: R, [rows, features].
        free: where X may differ from zero, bool [rows, features].

    Returns:
        X, [rows, features].
    """
    inverse_diagonal = 1 / np.diag(matrix)
    found = np.zeros(right.shape)
    residual = np.where(free, right, 0.0)
    scaled = residual * inverse_diagonal
    direction = scaled.copy()
    slope = np.einsum("rf,rf->r", residual, scaled)
    enough = slope * TOLERANCE**2
    for _ in range(STEPS):
        unfinished = slope > enough
        if not unfinished.any():
            break
        along = np.where(free, direction @ matrix, 0.0)
        curvature = np.einsum("rf,rf->r", direction, along)
        step = np.divide(slope, curvature, out=np.zeros_like(slope), where=unfinished & (curvature > 0))[:, None]
        found += step * direction
        residual -= step * along
        scaled = residual * inverse_diagonal
        renewed = np.einsum("rf,rf->r", residual, scaled)
        direction = scaled + np.divide(renewed, slope, out=np.zeros_like(slope), where=unfinished)[:, None] * direction
        slope = renewed
    return found
