"""A progress bar with loss and score, on stderr, where a person is looking."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class TrainingProgress:
    """Shows how far a run is; without a bar it shows nothing.

    Args:
        bar: where to show it.
        task: its line there.
    """

    def __init__(self, bar: Progress | None = None, task: TaskID | None = None) -> None:
        self._bar = bar
        self._task = task
        self._score = ""

    def step(self, done: int, loss: float) -> None:
        """Advance."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, description=f"loss {loss:.4g}{self._score}")

    def score(self, score: float) -> None:
        """Show the newest score from now on."""
        self._score = f"  score {score:.4g}"


@contextmanager
def training_progress(*, total: int, shown: bool) -> Generator[TrainingProgress]:
    """The progress of a run: a bar on a terminal when `shown`, none elsewhere."""
    if not shown or not sys.stderr.isatty():
        yield TrainingProgress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield TrainingProgress(bar, bar.add_task("training", total=total))
