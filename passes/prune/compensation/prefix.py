"""Running a program whose first part no longer changes: that part's results are kept from stage to stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from netwright.passes.statistics import feeds_of

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context

PREFIX_BYTES = 1 << 29
"""What may be kept. Where the next border takes more, the last one that fitted is started from."""


class Prefix:
    """Values of the part that is done, batch by batch; the inputs at first.

    Args:
        context: has calibration data and an executor.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._kept: list[dict[str, np.ndarray]] | None = None

    def runs(self, program: Program, wanted: Sequence[str], border: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
        """The wanted values of each batch.

        Args:
            program: differs from the last one at and after the last border only.
            wanted: names of values.
            border: names of values that determine all that comes after, and that will not change any more; empty where they cannot be kept.
        """
        assert self._context.calibration is not None, "compensation is asked for only with data"
        assert self._context.executor is not None, "and with an executor"
        held = [name for name in border if _exists(program, name)]
        names = list(dict.fromkeys([*wanted, *held]))
        kept: list[dict[str, np.ndarray]] | None = [] if border else None
        used = 0
        for feeds in feeds_of(program, self._context.calibration) if self._kept is None else self._kept:
            given = {name: array for name, array in feeds.items() if _exists(program, name)}
            found = self._context.executor.run(program, given, names)
            if kept is not None:
                kept.append({name: found[name] for name in held})
                used += sum(array.nbytes for array in kept[-1].values())
                kept = None if used > PREFIX_BYTES else kept
            yield found
        self._kept = self._kept if kept is None else kept


def _exists(program: Program, name: str) -> bool:
    """False of what a layer no longer reads since its bias is a constant."""
    try:
        program.value(name)
    except KeyError:
        return False
    return True
