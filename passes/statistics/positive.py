"""Linear equations whose matrix is symmetric and positive definite."""
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from typing import Protocol, cast

import numpy as np
from scipy.linalg import cho_factor, cho_solve


class _Factor(Protocol):
    """The part of scipy's `cho_factor` that is used, whose own signature has no types."""

    def __call__(self, a: np.ndarray, *, overwrite_a: bool, check_finite: bool) -> tuple[np.ndarray, bool]: ...


class _Solve(Protocol):
    """Likewise of `cho_solve`."""

    def __call__(self, factor: tuple[np.ndarray, bool], b: np.ndarray, *, check_finite: bool) -> np.ndarray: ...


def solve_positive(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """X of A X = B by Cholesky, A: [n, n], symmetric and positive definite, overwritten; B: [n, m].

    Raises:
        numpy.linalg.LinAlgError: A is not positive definite.
    """
    factor = cast("_Factor", cho_factor)(matrix, overwrite_a=True, check_finite=False)
    return cast("_Solve", cho_solve)(factor, right, check_finite=False)
