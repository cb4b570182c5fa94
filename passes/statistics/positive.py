"""Linear equations whose matrix is symmetric and positive definite."""
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from typing import Protocol, cast

import numpy as np
from scipy import linalg


class _Solve(Protocol):
    """The part of scipy's `solve` that is used, whose own signature has no types."""

    def __call__(self, a: np.ndarray, b: np.ndarray, *, assume_a: str, overwrite_a: bool, check_finite: bool) -> np.ndarray: ...


def solve_positive(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """X of A X = B by Cholesky, A: [n, n], symmetric and positive definite, overwritten; B: [n, m].

    Raises:
        numpy.linalg.LinAlgError: A is not positive definite.
    """
    return cast("_Solve", linalg.solve)(matrix, right, assume_a="pos", overwrite_a=True, check_finite=False)
