"""Least squares whose solution is zero outside a mask: each row has unknowns of its own, all rows are solved side by side."""

from __future__ import annotations

import numpy as np

STEPS = 50
"""Conjugate gradient steps at most; each costs one product with the matrix, for all rows together."""

TOLERANCE = 1e-2
"""A row whose gradient, in the diagonal's metric, has fallen to this share of its first is done."""


def solve_supported(matrix: np.ndarray, right: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Min over X of tr(X A Xᵀ) − 2 tr(X Rᵀ), X zero outside `free`: by conjugate gradients, with A's diagonal as preconditioner.

    Factorising a matrix for each row would cost the cube of its unknowns; here every step leaves each row's error no larger than before,
    so that stopping early is safe, and products in float32 are precise enough.

    Args:
        matrix: A, symmetric and positive definite, [features, features].
        right: R, [rows, features].
        free: where X may differ from zero, bool [rows, features].

    Returns:
        X, [rows, features], float64.
    """
    scale = 1 / np.sqrt(np.diag(matrix))  # of the unknowns, so that the diagonal becomes one: that is the preconditioner
    scaled = (matrix * scale * scale[:, None]).astype(np.float32)
    found = np.zeros(right.shape, np.float32)
    residual = np.where(free, right * scale, 0.0).astype(np.float32)
    direction = residual.copy()
    slope = _squares(residual)
    enough = slope * TOLERANCE**2
    for _ in range(STEPS):
        rows = np.flatnonzero(slope > enough)
        if not rows.size:
            break
        along = np.where(free[rows], direction[rows] @ scaled, np.float32(0))
        curvature = np.einsum("rf,rf->r", direction[rows], along)
        step = (slope[rows] / np.maximum(curvature, np.finfo(np.float32).tiny))[:, None]
        found[rows] += step * direction[rows]
        residual[rows] -= step * along
        renewed = _squares(residual[rows])
        direction[rows] = residual[rows] + (renewed / slope[rows])[:, None] * direction[rows]
        slope[rows] = renewed
    return found.astype(np.float64) * scale


def _squares(rows: np.ndarray) -> np.ndarray:
    return np.einsum("rf,rf->r", rows, rows)
