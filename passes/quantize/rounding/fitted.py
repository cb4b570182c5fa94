"""The rounder of a plan: each weight by its method, unless rounding to the nearest does better on held-out rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir

from netwright.passes.quantize.integers import Blocks, Channels, by_rows, in_blocks
from netwright.passes.quantize.rounding.base import Nearest, Rounder
from netwright.passes.quantize.rounding.evidence import Evidence, Evidences
from netwright.passes.quantize.rounding.grid import Grid
from netwright.passes.quantize.rounding.methods import METHODS, Rounded
from netwright.passes.quantize.rounding.reading import views_of
from netwright.passes.rewrite import Miss

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context
    from netwright.passes.quantize.choice import Choice
    from netwright.passes.quantize.units import Unit


def rounder_for(program: Program, choices: Mapping[Unit, Choice], context: Context) -> Rounder:
    """What rounds the weights of a plan.

    Costs nothing until weights are asked for; then the program, as it is now, is run on the calibration data once for some layers at a
    time, so that it is best asked in the order of `choices`.

    Args:
        program: as it is when weights are about to be rounded; it may change afterwards.
        choices: by unit, in the order in which they are going to be carried out.
        context: calibration data and executor; without them every rounding that needs data is told as a miss.
    """
    asked = {weight.name or "": choice.rounding for unit, choice in choices.items() for weight in unit.weights}
    if all(rounding == "nearest" for rounding in asked.values()):
        return Nearest()
    sites = {weight.name or "": unit.sites[0].name for unit in choices for weight in unit.weights}
    looked_up = frozenset(weight.name or "" for unit in choices if unit.tables for weight in unit.weights)
    needing = [unit for unit, choice in choices.items() if choice.rounding in METHODS]
    evidences: Evidences | None = None
    if needing and context.calibration is not None and context.executor is not None:
        clone = program.clone()
        evidences = Evidences(clone, views_of(program, needing), context.calibration, context.executor, seed=context.seed)
    return Fitted(asked, sites, looked_up, evidences)


class Fitted:
    """Rounds each weight as its choice says.

    Args:
        asked: rounding by weight; weights that are not named go to the nearest.
        sites: for misses, the site by weight.
        looked_up: weights that are also tables.
        evidences: what weights are multiplied with; None where there is no data.
    """

    def __init__(self, asked: Mapping[str, str], sites: Mapping[str, str], looked_up: frozenset[str], evidences: Evidences | None) -> None:
        self._asked = asked
        self._sites = sites
        self._looked_up = looked_up
        self._evidences = evidences
        self._misses: dict[str, Miss] = {}

    @property
    def misses(self) -> Sequence[Miss]:
        """See `Rounder`."""
        return tuple(self._misses.values())

    def rows(
        self, weight: onnx_ir.Value, matrix: np.ndarray, *, bits: int, factors: np.ndarray | None = None, per_channel: bool = True
    ) -> Channels:
        """See `Rounder`."""
        nearest = by_rows(matrix, bits=bits, factors=factors, per_channel=per_channel)
        name = weight.name or ""
        evidence = self._evidence(name, matrix)
        if evidence is None:
            return nearest
        grid = Grid.of_channels(nearest, bits, matrix.shape[1])
        if factors is not None:
            matrix, evidence = matrix * factors.astype(np.float32), evidence.divided(factors)
        better = self._better(name, matrix, Rounded(nearest.values, grid), evidence)
        return nearest if better is None else better.grid.channels(better.integers, per_channel=per_channel)

    def blocks(self, weight: onnx_ir.Value, matrix: np.ndarray, *, bits: int, block_size: int, symmetric: bool) -> Blocks:
        """See `Rounder`."""
        nearest = in_blocks(matrix, bits=bits, block_size=block_size, symmetric=symmetric)
        name = weight.name or ""
        evidence = self._evidence(name, matrix)
        if evidence is None:
            return nearest
        grid = Grid.of_blocks(nearest, bits, block_size)
        better = self._better(name, matrix, Rounded(grid.nearest(matrix), grid), evidence)
        return nearest if better is None else better.grid.blocks(better.integers, bits, symmetric=symmetric, factors=better.factors)

    def _evidence(self, name: str, matrix: np.ndarray) -> Evidence | None:
        """What readers see of a weight that is to be rounded by data; the miss where there is nothing."""
        method = self._asked.get(name, "nearest")
        if method not in METHODS:
            return None
        if self._evidences is None:
            return self._miss(name, f"rounded to the nearest: {method} needs calibration data, and there is none")
        evidence = self._evidences.of(name)
        if evidence is None:
            return self._miss(
                name,
                f"rounded to the nearest: {method} needs to see what %{name} is multiplied with, and that is no finite "
                "value of the main graph",
            )
        if name not in self._looked_up:
            return evidence
        weights, own = evidence.error(matrix), float(np.vdot(matrix, matrix))
        return dataclasses.replace(evidence, own=weights / own if own else 0.0)

    def _better(self, name: str, matrix: np.ndarray, nearest: Rounded, evidence: Evidence) -> Rounded | None:
        """The method's result, or None and a miss where it does no better than the nearest integers on held-out rows."""
        method = self._asked[name]
        found = METHODS[method](matrix, nearest.grid, evidence)
        whole = evidence.error(matrix)
        before, after = (_relative(evidence.error(one.weights() - matrix), whole) for one in (nearest, found))
        if after < before:
            return found
        return self._miss(
            name,
            f"rounded to the nearest: {method} leaves an error of {after:.4g} of the outputs on held-out rows, the nearest {before:.4g}",
        )

    def _miss(self, name: str, reason: str) -> None:
        self._misses[name] = Miss(reason, self._sites.get(name, name))


def _relative(error: float, whole: float) -> float:
    return (error / whole) ** 0.5 if whole > 0 else 0.0
