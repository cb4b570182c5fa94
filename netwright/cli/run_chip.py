"""`netwright run out.nwcim --input x.npz`: a chip's program on the simulator."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from netwright.backends.cim.program.model import ChipProgram
    from netwright.backends.cim.report import ChipReport
    from netwright.backends.cim.simulator.activity import Trace


def run_chip(path: str, inputs: Path, threads: int | None) -> tuple[ChipProgram, dict[str, np.ndarray], Trace]:
    """Load a chip's program, run it on the arrays of a file, and give its outputs and what it did.

    Raises:
        NetwrightError: the program is not sound, the data do not fit, a region failed.
    """
    from netwright.backends.cim.program import load
    from netwright.backends.cim.simulator import Machine
    from netwright.data.files import arrays_in, data_files
    from netwright.targets import region_runner

    chip = load(path)
    given = arrays_in(data_files(inputs)[0], chip.inputs)
    names = {port.name for port in chip.inputs}
    machine = Machine(chip, region_runner, threads=threads or 1)
    with _progress() as advance:
        outputs, trace = machine.run({name: array for name, array in given.items() if name in names}, progress=advance)
    return chip, outputs, trace


def report_of(chip: ChipProgram, trace: Trace) -> ChipReport:
    """What a run cost, and when everything happened."""
    from netwright.backends.cim.cost.account import account
    from netwright.backends.cim.report import ChipReport
    from netwright.backends.cim.schedule import schedule

    timeline = schedule(chip)
    return ChipReport(chip, trace, timeline, account(chip, trace, timeline))


@contextmanager
def _progress() -> Generator[Callable[[int, int], None] | None]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("simulating"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("steps", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
