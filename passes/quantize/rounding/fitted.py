"""The rounder of a plan: each weight by its method, unless rounding to the nearest does better on held-out rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir

from netwright.passes.quantize.choice import Choice, Static
from netwright.passes.quantize.integers import Blocks, Channels, by_rows, in_blocks
from netwright.passes.quantize.rounding.base import Nearest, Rounder
from netwright.passes.quantize.rounding.channel_scales import GAIN
from netwright.passes.quantize.rounding.evidence import Evidence, Evidences
from netwright.passes.quantize.rounding.grid import Grid
from netwright.passes.quantize.rounding.methods import METHODS, Method, Rounded, Task
from netwright.passes.quantize.rounding.reading import views_of
from netwright.passes.rewrite import Miss

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context
    from netwright.passes.quantize.units import Unit


def rounder_for(program: Program, choices: Mapping[Unit, Choice], context: Context) -> Rounder:
    """What rounds the weights of a plan.

    Costs nothing until weights are asked for; then the program, as it is now, is run on the calibration data once for some layers at a
    time, so that it is best asked in that order.

    Args:
        program: as it is when weights are about to be rounded; it may change afterwards.
        choices: by unit, in the order in which they are going to be carried out, static ones first.
        context: calibration data and executor; without them every rounding that needs data is told as a miss.
    """
    asked = {weight.name or "": choice.rounding for unit, choice in choices.items() for weight in unit.weights}
    if all(rounding == "nearest" for rounding in asked.values()):
        return Nearest()
    sites = {weight.name or "": unit.sites[0].name for unit in choices for weight in unit.weights}
    looked_up = frozenset(weight.name or "" for unit in choices if unit.tables for weight in unit.weights)
    needing = [
        unit
        for unit, choice in sorted(choices.items(), key=lambda one: not isinstance(one[1], Static))
        if choice.rounding in METHODS and unit.weights
    ]
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
        nearest, name = by_rows(matrix, bits=bits, factors=factors, per_channel=per_channel), weight.name or ""
        method = self._method(name, room=False)
        if method is None:
            return nearest
        scaled = matrix if factors is None else matrix * factors.astype(np.float32)

        def regrid(other: np.ndarray) -> Rounded:
            found = by_rows(other, bits=bits, per_channel=per_channel)
            return Rounded(found.values, Grid.of_channels(found, bits, other.shape[1]))

        start = Rounded(nearest.values, Grid.of_channels(nearest, bits, matrix.shape[1]))
        better = self._better(name, method, scaled, start, factors=factors, symmetric=True, regrid=regrid)
        return nearest if better is None else better.grid.channels(better.integers, per_channel=per_channel)

    def blocks(self, weight: onnx_ir.Value, matrix: np.ndarray, *, bits: int, block_size: int, symmetric: bool) -> Blocks:
        """See `Rounder`."""
        nearest, name = in_blocks(matrix, bits=bits, block_size=block_size, symmetric=symmetric), weight.name or ""
        method = self._method(name, room=name not in self._looked_up)
        if method is None:
            return nearest

        def regrid(other: np.ndarray) -> Rounded:
            grid = Grid.of_blocks(in_blocks(other, bits=bits, block_size=block_size, symmetric=symmetric), bits, block_size)
            return Rounded(grid.nearest(other), grid)

        grid = Grid.of_blocks(nearest, bits, block_size)
        start = Rounded(grid.nearest(matrix), grid)
        better = self._better(name, method, matrix, start, factors=None, symmetric=symmetric, regrid=regrid)
        return nearest if better is None else better.grid.blocks(better.integers, bits, symmetric=symmetric, factors=better.factors)

    def _method(self, name: str, *, room: bool) -> Method | None:
        """How a weight is rounded; None, and a miss, where that cannot be."""
        asked = self._asked.get(name, "nearest")
        method = METHODS.get(asked)
        if method is None:
            return None
        if method.needs_data and self._evidences is None:
            return self._miss(name, f"rounded to the nearest: {asked} needs calibration data, and there is none")
        if method.scales_channels and not room:
            return self._miss(
                name,
                f"rounded to the nearest: {asked} scales channels of what is multiplied, and only products in blocks have room for that",
            )
        return method

    def _evidence(self, name: str, matrix: np.ndarray, factors: np.ndarray | None) -> Evidence | None:
        """What readers see of a weight, divided by the factors that the matrix has been multiplied by."""
        found = None if self._evidences is None else self._evidences.of(name)
        if found is None:
            return None
        evidence = found if factors is None else found.divided(factors)
        if name not in self._looked_up:
            return evidence
        made, own = evidence.error(matrix), float(np.vdot(matrix, matrix))
        return dataclasses.replace(evidence, own=made / own if own else 0.0)

    def _better(
        self,
        name: str,
        method: Method,
        matrix: np.ndarray,
        nearest: Rounded,
        *,
        factors: np.ndarray | None,
        symmetric: bool,
        regrid: Callable[[np.ndarray], Rounded],
    ) -> Rounded | None:
        """The method's result, or None and a miss where it does no better than the nearest integers on held-out rows."""
        asked, evidence = self._asked[name], self._evidence(name, matrix, factors)
        if evidence is None and method.needs_data:
            if name in self._looked_up:
                return self._miss(name, f"rounded to the nearest: %{name} is looked up, and {asked} is for products")
            seen = f"what %{name} is multiplied with, and that is no finite value of the main graph"
            return self._miss(name, f"rounded to the nearest: {asked} needs to see {seen}")
        found = method.round(Task(matrix, nearest, evidence, symmetric, regrid))
        if found is None:
            return self._miss(name, f"rounded to the nearest: {asked} found no factors that lower the squared error by {1 - GAIN:.0%}")
        if evidence is None:
            return found
        whole = evidence.error(matrix)
        before, after = (_relative(evidence.error(one.weights() - matrix), whole) for one in (nearest, found))
        if after < before:
            return found
        return self._miss(
            name,
            f"rounded to the nearest: {asked} leaves an error of {after:.4g} of the outputs on held-out rows, the nearest {before:.4g}",
        )

    def _miss(self, name: str, reason: str) -> None:
        self._misses[name] = Miss(reason, self._sites.get(name, name))


def _relative(error: float, whole: float) -> float:
    return (error / whole) ** 0.5 if whole > 0 else 0.0
