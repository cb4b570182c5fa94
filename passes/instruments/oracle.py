"""The oracle check: every stage against the original program on the same inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from netwright.ir.errors import CheckError
from netwright.passes.context import Executor, Feeds
from netwright.passes.instruments.base import Instrument
from netwright.passes.numerics import Numerics, weakest
from netwright.passes.values import errors, within

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.base import Pass
    from netwright.passes.manager import PassRow


class OracleCheck(Instrument):
    """Runs the program after each pass and compares its outputs with those of the program before the first.

    Args:
        executor: runs programs.
        feeds: sample inputs, one dict per run.
        strict: raise where the error exceeds what the passes so far promise; record it in the row in any case.
    """

    def __init__(self, executor: Executor, feeds: Sequence[Feeds], *, strict: bool = True) -> None:
        self._executor = executor
        self._feeds = tuple(feeds)
        self._strict = strict
        self._reference: list[dict[str, np.ndarray]] = []
        self._promises: list[Numerics] = []

    def begin(self, program: Program, passes: Sequence[Pass]) -> None:
        """Run the original."""
        self._promises = []
        self._reference = [self._executor.run(program, feeds) for feeds in self._feeds]

    def after_pass(self, program: Program, index: int, current: Pass, row: PassRow) -> None:
        """Compare, fill in the row's errors, and hold the pass to its promise.

        Raises:
            CheckError: the outputs differ by more than the passes so far promise.
        """
        self._promises.append(current.numerics)
        promise = weakest(*self._promises)
        found = [errors(old, self._executor.run(program, feeds)) for old, feeds in zip(self._reference, self._feeds, strict=True)]
        row.max_abs_error = max((stats.max_abs for stats in found), default=0.0)
        row.rel_error = max((stats.rel for stats in found), default=0.0)
        broken = next((stats for stats in found if not within(stats, promise)), None)
        if self._strict and broken is not None:
            raise CheckError(
                f"After {current}, output %{broken.worst_output} differs from the original by {broken.max_abs:.3g} "
                f"(relative {broken.rel:.3g}), more than {promise} promises.",
                place=f"{index}:{current.name}",
                remedy="Find the rewrite with --until, halving the number of actions.",
            )
