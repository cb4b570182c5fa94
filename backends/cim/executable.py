"""A program on a chip: mapped, simulated, timed, costed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from netwright.backends.cim.cost import Cost, account
from netwright.backends.cim.program import load as load_file
from netwright.backends.cim.program import save as save_file
from netwright.backends.cim.program.model import ChipProgram
from netwright.backends.cim.report import ChipReport
from netwright.backends.cim.schedule import schedule
from netwright.backends.cim.schedule.model import Timeline
from netwright.backends.cim.simulator import Machine, Progress
from netwright.backends.cim.simulator.activity import RegionLoader, Trace
from netwright.ir.errors import RunError
from netwright.ir.signature import Port, fit_feeds


class CimExecutable:
    """What lowering to a chip gives: runs on the simulator, tells what that cost, and can be written as `.nwcim`.

    Args:
        chip: the chip's program.
        loader: makes of a region something that runs.
        threads: how many threads the simulator uses; results do not depend on it.

    Attributes:
        chip: the chip's program.
        trace: what the last run did; None before the first.
    """

    def __init__(self, chip: ChipProgram, loader: RegionLoader, *, threads: int | None = None) -> None:
        self.chip = chip
        self.trace: Trace | None = None
        self._machine = Machine(chip, loader, threads=threads or 1)

    @classmethod
    def load(cls, path: str | Path, loader: RegionLoader, *, threads: int | None = None) -> CimExecutable:
        """Read a `.nwcim` file.

        Raises:
            ModelFileError: the file is missing, damaged, hostile or of another version.
        """
        return cls(load_file(path), loader, threads=threads)

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What `run` takes."""
        return self.chip.inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        """What `run` gives."""
        return self.chip.outputs

    @cached_property
    def timeline(self) -> Timeline:
        """When everything happens, for one sample."""
        return schedule(self.chip)

    def summary(self) -> dict[str, object]:
        """What is known before a run, as JSON: times, room taken, what is not on crossbars and why."""
        chip = self.chip
        return {
            "name": chip.arch.name,
            "latency_ns": self.timeline.latency_ns,
            "interval_ns": self.timeline.interval_ns,
            "matrices": len(chip.matrices),
            "units": len(chip.units),
            "copies": max((unit.copy for unit in chip.units), default=0) + 1,
            "phases": max((unit.phase for unit in chip.units), default=0) + 1,
            "tiles": len(chip.tiles),
            "host_regions": len(chip.host),
            "notes": list(chip.notes),
        }

    @property
    def steps(self) -> int:
        """Steps of one chunk of samples: `progress` counts so many for each."""
        return self._machine.steps

    def run(self, feeds: Mapping[str, object], *, progress: Progress | None = None) -> dict[str, np.ndarray]:
        """Run a batch on the simulator; `trace` then tells what that took.

        Args:
            feeds: arrays by input name.
            progress: told steps done, and steps in all.

        Raises:
            DataError: the feeds do not fit the inputs.
            RunError: an instruction failed.
        """
        outputs, self.trace = self._machine.run(feeds, progress=progress)
        return outputs

    def bind(self, feeds: Mapping[str, object]) -> Callable[[], dict[str, np.ndarray]]:
        """A run with its feeds already checked.

        Raises:
            DataError: the feeds do not fit the inputs.
        """
        fitted = fit_feeds(feeds, self.chip.inputs)

        def call() -> dict[str, np.ndarray]:
            outputs, self.trace = self._machine.run(fitted)
            return outputs

        return call

    def cost(self) -> Cost:
        """Energy, latency, area and utilisation of the last run, for one sample.

        Raises:
            RunError: nothing has run yet: energy follows from what the data made the arrays do.
        """
        if self.trace is None:
            raise RunError("Nothing has run yet.", place=self.chip.name, remedy="Call run(feeds) first: energy depends on the data.")
        return account(self.chip, self.trace, self.timeline)

    def report(self) -> ChipReport:
        """The last run by layer and by component: a table, JSON, a page.

        Raises:
            RunError: nothing has run yet.
        """
        cost = self.cost()
        assert self.trace is not None, "cost() has looked"
        return ChipReport(self.chip, self.trace, self.timeline, cost)

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Write the chip's program as a `.nwcim` file, beside its place and then renamed.

        Raises:
            ModelFileError: the file cannot be written.
        """
        return (save_file(self.chip, path),)
