"""`netwright run out.nwcim --input x.npz`: a chip's program on the simulator."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from netwright.backends.cim.executable import CimExecutable


def run_chip(path: str, inputs: Path, threads: int | None, *, quiet: bool) -> tuple[CimExecutable, dict[str, np.ndarray]]:
    """Load a chip's program and run it on the arrays of a file: what ran, and its outputs.

    Raises:
        NetwrightError: the program is not sound, the data do not fit, a region failed.
    """
    from netwright.backends.cim.executable import CimExecutable
    from netwright.data.files import arrays_in, data_files
    from netwright.targets import region_runner

    executable = CimExecutable.load(path, region_runner, threads=threads)
    given = arrays_in(data_files(inputs)[0], executable.inputs)
    names = {port.name for port in executable.inputs}
    with progress(executable.steps, quiet=quiet) as advance:
        outputs = executable.run({name: array for name, array in given.items() if name in names}, progress=advance)
    return executable, outputs


@contextmanager
def progress(steps: int, *, quiet: bool) -> Generator[Callable[[int, int], None] | None]:
    """A progress bar on a terminal, where a run takes more than one chunk's steps; nothing elsewhere or when `quiet`."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("simulating"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("steps", total=None)

    def advance(done: int, total: int) -> None:
        if total > steps:
            bar.start()
            bar.update(task, completed=done, total=total)

    try:
        yield advance
    finally:
        bar.stop()
