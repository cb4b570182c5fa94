"""The methods of rounding, by the names that stand in plans."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from netwright.passes.quantize.rounding.adaround import adaround
from netwright.passes.quantize.rounding.channel_scales import channel_scales
from netwright.passes.quantize.rounding.evidence import Evidence
from netwright.passes.quantize.rounding.gptq import gptq
from netwright.passes.quantize.rounding.grid import Grid
from netwright.passes.quantize.rounding.half_quadratic import half_quadratic


@dataclass(frozen=True, slots=True, eq=False)
class Rounded:
    """A matrix on a grid.

    Attributes:
        integers: [outputs, features].
        grid: theirs.
        factors: what the matrix was multiplied by first, [features], and its input is to be divided by; None for nothing.
    """

    integers: np.ndarray
    grid: Grid
    factors: np.ndarray | None = None

    def weights(self) -> np.ndarray:
        """What the integers stand for, in terms of the matrix as it was."""
        found = self.grid.weights(self.integers)
        return found if self.factors is None else found / self.factors


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A matrix to be rounded.

    Attributes:
        matrix: float [outputs, features].
        nearest: the matrix at the nearest integers.
        evidence: what it is multiplied with; None where that is not known.
        symmetric: zero points are not for choosing.
        regrid: to the nearest integers on a grid of its own: of another matrix of the same kind.
    """

    matrix: np.ndarray
    nearest: Rounded
    evidence: Evidence | None
    symmetric: bool
    regrid: Callable[[np.ndarray], Rounded]


@dataclass(frozen=True, slots=True)
class Method:
    """A way to round.

    Attributes:
        round: does it; None where it finds nothing better.
        needs_data: asks for evidence.
        scales_channels: the input is to be divided by factors, for which there is room only in products in blocks.
    """

    round: Callable[[Task], Rounded | None]
    needs_data: bool = True
    scales_channels: bool = False


def _gptq(task: Task) -> Rounded:
    assert task.evidence is not None, "needs data"
    return Rounded(gptq(task.matrix, task.evidence.whole(), task.nearest.grid), task.nearest.grid)


def _adaround(task: Task) -> Rounded:
    assert task.evidence is not None, "needs data"
    return Rounded(adaround(task.matrix, task.evidence.whole(), task.nearest.grid), task.nearest.grid)


def _hqq(task: Task) -> Rounded:
    return Rounded(*half_quadratic(task.matrix, task.nearest.grid, symmetric=task.symmetric))


def _awq(task: Task) -> Rounded | None:
    assert task.evidence is not None, "needs data"
    factors = channel_scales(task.matrix, task.evidence, lambda matrix: task.regrid(matrix).weights())
    if factors is None:
        return None
    found = task.regrid(task.matrix * factors)
    return Rounded(found.integers, found.grid, factors)


METHODS: Mapping[str, Method] = MappingProxyType(
    {"gptq": Method(_gptq), "adaround": Method(_adaround), "hqq": Method(_hqq, needs_data=False), "awq": Method(_awq, scales_channels=True)}
)
"""All but rounding to the nearest."""
