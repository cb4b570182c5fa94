"""First and second moments of rows, streamed in float64."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

CHUNK_ELEMENTS = 1 << 22
"""How many elements are in float64 at once."""


@dataclass(slots=True, eq=False)
class Moments:
    """Sums over rows x (and, for a regression, y beside them), from which means and covariances follow.

    Attributes:
        features: length of x.
        targets: length of y; 0 where there is none.
        count: rows so far.
        total: Σ x, [features].
        second: Σ x xᵀ, [features, features].
        target_total: Σ y, [targets].
        cross: Σ y xᵀ, [targets, features].
    """

    features: int
    targets: int = 0
    count: int = 0
    total: np.ndarray = field(init=False)
    second: np.ndarray = field(init=False)
    target_total: np.ndarray = field(init=False)
    cross: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.total = np.zeros(self.features)
        self.second = np.zeros((self.features, self.features))
        self.target_total = np.zeros(self.targets)
        self.cross = np.zeros((self.targets, self.features))

    def add(self, x: np.ndarray, y: np.ndarray | None = None) -> None:
        """Count rows in.

        Args:
            x: [rows, features], of any float type.
            y: [rows, targets], where there are targets.
        """
        step = max(1, CHUNK_ELEMENTS // max(1, self.features + self.targets))
        for start in range(0, len(x), step):
            rows = x[start : start + step].astype(np.float64)
            self.count += len(rows)
            with np.errstate(invalid="ignore", over="ignore"):  # rows that are not finite show in the sums
                self.total += rows.sum(axis=0)
                self.second += rows.T @ rows
                if y is not None:
                    wanted = y[start : start + step].astype(np.float64)
                    self.target_total += wanted.sum(axis=0)
                    self.cross += wanted.T @ rows

    @property
    def mean(self) -> np.ndarray:
        """E[x], [features]."""
        return self.total / max(1, self.count)

    @property
    def target_mean(self) -> np.ndarray:
        """E[y], [targets]."""
        return self.target_total / max(1, self.count)

    def raw(self) -> np.ndarray:
        """E[x xᵀ], [features, features]."""
        return self.second / max(1, self.count)

    def covariance(self) -> np.ndarray:
        """E[x xᵀ] − E[x] E[x]ᵀ, [features, features]."""
        return self.raw() - np.outer(self.mean, self.mean)

    def cross_covariance(self) -> np.ndarray:
        """E[y xᵀ] − E[y] E[x]ᵀ, [targets, features]."""
        return self.cross / max(1, self.count) - np.outer(self.target_mean, self.mean)

    def augmented(self) -> np.ndarray:
        """E[x̃ x̃ᵀ] of x̃ = (x, 1), [features + 1, features + 1]: what a layer with a bias sees."""
        n = self.features
        whole = np.empty((n + 1, n + 1))
        whole[:n, :n], whole[:n, n], whole[n, :n], whole[n, n] = self.raw(), self.mean, self.mean, 1.0
        return whole
