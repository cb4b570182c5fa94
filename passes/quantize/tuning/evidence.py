"""The activations that sites are measured on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from netwright.ir.opinfo import is_float
from netwright.passes.statistics import feeds_of, pieces

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context, Feeds

PIECES = 4
"""Sets of inputs on which outputs of whole programs are compared."""


def feeds_for(program: Program, context: Context) -> list[Feeds]:
    """Inputs of the size for which latency counts: calibration data with as many rows as made-up inputs have, else those.

    Raises:
        DataError: none was given, and none can be made up.
    """
    made_up: list[Feeds] = []
    if context.samples is not None and (context.calibration is None or _rows_are_free(program)):
        made_up = list(feeds_of(program, context.samples(program)))
    if context.calibration is None:
        return made_up
    rows = next((array.shape[0] for one in made_up for array in one.values() if array.ndim), 1)
    return list(feeds_of(program, pieces(program, context.calibration, rows=rows, most=PIECES, seed=context.seed)))


def relative_error(goal: Sequence[Feeds], made: Sequence[Feeds]) -> float:
    """|made - goal| / |goal| in the Euclidean norm over all float arrays; infinite where something is not finite that was."""
    off = whole = 0.0
    for expected, found in zip(goal, made, strict=True):
        for name, array in expected.items():
            if not np.issubdtype(array.dtype, np.floating):
                continue
            sound = np.isfinite(array)
            goals = array[sound].astype(np.float64)
            off += float(np.sum(np.square(found[name][sound] - goals)))
            whole += float(np.sum(np.square(goals)))
    if not np.isfinite(off):
        return float("inf")
    return (off / whole) ** 0.5 if whole > 0 else 0.0


def float_outputs(program: Program) -> list[str]:
    """Names of the outputs that hold floats."""
    return [value.name or "" for value in program.graph.outputs if is_float(value.dtype)]


def _rows_are_free(program: Program) -> bool:
    shapes = [value.shape for value in program.inputs]
    return all(shape is not None and len(shape) > 0 and not isinstance(shape[0], int) for shape in shapes)
