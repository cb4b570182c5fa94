"""A function of a vector whose best point is mostly zeros, and is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ROWS, COLUMNS, ACTIVE = 120, 60, 6


@dataclass(frozen=True, slots=True)
class LeastSquares:
    """½ ‖A w − b‖² / rows, where b is made of a few columns of A and a little noise.

    Attributes:
        a: [rows, columns].
        b: [rows].
        true: [columns], zero but for a few.
    """

    a: np.ndarray
    b: np.ndarray
    true: np.ndarray

    def gradient(self, w: np.ndarray) -> np.ndarray:
        """At w."""
        return self.a.T @ (self.a @ w - self.b) / len(self.b)

    def noisy_gradient(self, w: np.ndarray, rng: np.random.Generator, rows: int = 12) -> np.ndarray:
        """An estimate from some rows."""
        chosen = rng.integers(0, len(self.b), rows)
        return self.a[chosen].T @ (self.a[chosen] @ w - self.b[chosen]) / rows


def least_squares(seed: int = 0, dtype: str = "float64") -> LeastSquares:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(ROWS, COLUMNS))
    true = np.zeros(COLUMNS)
    true[rng.permutation(COLUMNS)[:ACTIVE]] = rng.uniform(0.5, 2, ACTIVE) * rng.choice([-1, 1], ACTIVE)
    b = a @ true + 0.01 * rng.normal(size=ROWS)
    return LeastSquares(a.astype(dtype), b.astype(dtype), true.astype(dtype))
