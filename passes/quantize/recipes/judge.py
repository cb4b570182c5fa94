"""Data for fitting and data for judging, and the error of a candidate's outputs on the latter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from netwright.ir.opinfo import is_float
from netwright.passes.planning import relative_error
from netwright.passes.statistics import pieces

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context, Executor, Feeds

FOLDS = 5
"""One batch in so many judges."""

ROWS, MOST = 16, 8
"""The judge runs so many rows at a time, so many times at most."""


@dataclass(frozen=True, slots=True, eq=False)
class _Fold:
    """Every batch but those of one fold, or only those: as often as is asked for, streamed."""

    batches: Iterable[Feeds]
    judging: bool

    def __iter__(self) -> Iterator[Feeds]:
        for number, batch in enumerate(self.batches):
            if (number % FOLDS == FOLDS - 1) == self.judging:
                yield batch


def split(program: Program, context: Context) -> tuple[Context, list[dict[str, np.ndarray]]]:
    """The context with the data that may be fitted to, and inputs held out for judging.

    Of five batches or more every fifth judges, of fewer the last rows.

    Args:
        program: whose inputs the data fits.
        context: has calibration data.

    Raises:
        DataError: the data holds no batch.
    """
    assert context.calibration is not None, "asked for only with data"
    count = sum(1 for _ in context.calibration)
    if count >= FOLDS:
        held = pieces(program, _Fold(context.calibration, judging=True), rows=ROWS, most=MOST, seed=context.seed)
        return replace(context, calibration=_Fold(context.calibration, judging=False)), _inputs(program, held)
    small = pieces(program, context.calibration, rows=1, most=FOLDS * MOST, seed=context.seed)
    cut = max(1, len(small) // FOLDS)
    if len(small) == 1:
        return context, _inputs(program, small)
    return replace(context, calibration=small[:-cut]), _inputs(program, small[-cut:])


def _inputs(program: Program, feeds: Sequence[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    names = {value.name for value in program.inputs}
    return [{name: array for name, array in one.items() if name in names} for one in feeds]


class Judge:
    """Compares outputs with those of the program before.

    Args:
        program: as it was.
        held: inputs that nothing is fitted to.
        executor: runs programs.
    """

    def __init__(self, program: Program, held: Sequence[Feeds], executor: Executor) -> None:
        self._held = held
        self._executor = executor
        self._wanted = [value.name or "" for value in program.graph.outputs if is_float(value.dtype)]
        self._goal = [executor.run(program, one, self._wanted) for one in held] if self._wanted else []

    def error(self, program: Program) -> float:
        """Mean over float outputs of the squared error over what varies of each."""
        if not self._goal:
            return 0.0
        return relative_error(self._goal, [self._executor.run(program, one, self._wanted) for one in self._held])
