"""A progress bar over the passes of a run, on stderr, where a person is looking."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from netwright.passes.instruments.base import Instrument

if TYPE_CHECKING:
    from rich.progress import Progress

    from netwright.ir.ledger import Action
    from netwright.ir.program import Program
    from netwright.passes.base import Pass
    from netwright.passes.manager import PassRow


class PassProgress(Instrument):
    """Shows which pass is running and how many rewrites it has made."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("loading", total=None)
        self._actions = 0

    def begin(self, program: Program, passes: Sequence[Pass]) -> None:
        """Know how many passes there are."""
        self._progress.update(self._task, total=len(passes), completed=0)

    def before_pass(self, program: Program, index: int, current: Pass) -> None:
        """Name the pass."""
        self._actions = 0
        self._progress.update(self._task, description=f"{index}:{current}")

    def after_action(self, program: Program, action: Action) -> None:
        """Count, every hundredth time."""
        self._actions += 1
        if self._actions % 100 == 0:
            self._progress.update(self._task, description=f"{action.number} {action.site}")

    def after_pass(self, program: Program, index: int, current: Pass, row: PassRow) -> None:
        """Advance."""
        self._progress.update(self._task, completed=index + 1)

    def end(self, program: Program) -> None:
        """Say what follows."""
        self._progress.update(self._task, description="measuring")


@contextmanager
def pass_progress(*, quiet: bool) -> Generator[list[Instrument]]:
    """The instruments to add to a run: a progress bar on a terminal, none elsewhere or when `quiet`."""
    if quiet or not sys.stderr.isatty():
        yield []
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield [PassProgress(progress)]
