"""Running a program whose first part no longer changes: that part's results are kept from stage to stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Executor
    from netwright.passes.statistics import Repeated

PREFIX_BYTES = 1 << 29
"""What may be kept. Where the next border takes more, the last one that fitted is started from."""


class Prefix:
    """Values of the part that is done, batch by batch; the inputs at first.

    Args:
        data: the inputs.
        executor: runs the program.
    """

    def __init__(self, data: Repeated, executor: Executor) -> None:
        self._data = data
        self._executor = executor
        self._kept: list[dict[str, np.ndarray]] | None = None

    def runs(self, program: Program, wanted: Sequence[str], border: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
        """The wanted values of each batch.

        Args:
            program: differs from the last one at and after the last border only.
            wanted: names of values.
            border: names of values that determine all that comes after, and that will not change any more; empty where they cannot be kept.
        """
        held = [name for name in border if _exists(program, name)]
        names = list(dict.fromkeys([*wanted, *held]))
        kept: list[dict[str, np.ndarray]] | None = [] if border else None
        used = 0
        for feeds in self._data if self._kept is None else self._kept:
            given = {name: array for name, array in feeds.items() if _exists(program, name)}
            found = self._executor.run(program, given, names)
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
