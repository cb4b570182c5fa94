"""The methods of rounding, by the names that stand in plans."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from netwright.passes.quantize.rounding.evidence import Evidence
from netwright.passes.quantize.rounding.gptq import gptq
from netwright.passes.quantize.rounding.grid import Grid


@dataclass(frozen=True, slots=True, eq=False)
class Rounded:
    """A matrix on a grid.

    Attributes:
        integers: float32 [outputs, features].
        grid: theirs; it may differ from the one that the method was given.
        factors: what the matrix was multiplied by first, [features], and its input is to be divided by; None for nothing.
    """

    integers: np.ndarray
    grid: Grid
    factors: np.ndarray | None = None

    def weights(self) -> np.ndarray:
        """What the integers stand for, in terms of the matrix as it was."""
        found = self.grid.weights(self.integers)
        return found if self.factors is None else found / self.factors


Method = Callable[[np.ndarray, Grid, Evidence], Rounded]
"""Rounds a matrix [outputs, features], given the grid of the nearest integers and what readers see."""


def _gptq(matrix: np.ndarray, grid: Grid, evidence: Evidence) -> Rounded:
    return Rounded(gptq(matrix, evidence.whole(), grid), grid)


METHODS: Mapping[str, Method] = MappingProxyType({"gptq": _gptq})
"""Those that need data."""
