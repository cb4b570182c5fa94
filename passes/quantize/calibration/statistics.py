"""What calibration learnt of a program's activations, and the grids that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from netwright.ir.errors import DataError
from netwright.ir.fingerprint import fingerprint
from netwright.passes.quantize.calibration.channels import ChannelStatistics
from netwright.passes.quantize.calibration.files import read_statistics, write_statistics
from netwright.passes.quantize.calibration.methods import METHODS, PERCENTILE, Method, Wanted, find_grid
from netwright.passes.quantize.calibration.summary import Summary
from netwright.passes.quantize.calibration.tensors import TensorStatistics

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.quantize.choice import ActivationGrid

DEFAULT_METHOD: Method = "lp"
"""Of the methods, that with the least output error on average over twelve trained models, activations alone being quantized:
0.84 times that of minmax (mse 0.96, percentile 99.999 0.99); moving and entropy lose whole models (see docs/calibrate.md)."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Ranges of activations by name.

    Attributes:
        fingerprint: of the program that was run.
        runs: how often it was run for each activation.
        tensors: by name.
        channels: by name, of those activations whose channels were asked for.
    """

    fingerprint: str
    runs: int
    tensors: Mapping[str, TensorStatistics]
    channels: Mapping[str, ChannelStatistics] = field(default_factory=dict[str, ChannelStatistics])

    def obstacle(self, name: str) -> str | None:
        """Why an activation has no grid, as it may stand in a Miss; None where it has one.

        Raises:
            DataError: the activation was not calibrated.
        """
        seen = self._of(name)
        if seen.count == 0:
            return f"left float: %{name} had no elements in the calibration data"
        if seen.infinite:
            return (
                f"left float: {seen.infinite} of {seen.count} elements of %{name} were NaN, infinite or as large as a mask (1e30), "
                "which no grid spans"
            )
        return None

    def grid(
        self,
        name: str,
        *,
        method: Method = DEFAULT_METHOD,
        bits: int = 8,
        signed: bool = False,
        symmetric: bool = False,
        percentile: float = PERCENTILE,
    ) -> ActivationGrid:
        """The integers for an activation.

        Args:
            name: of the activation.
            method: `minmax`, all that was seen; `moving`, the mean range of a batch; `percentile`, all but the outermost elements;
                `entropy`, the range that keeps the distribution best; `mse`, the range with the least squared error;
                `lp`, that with the least error to the power 2.4.
            bits: of the integers, 2 to 16.
            signed: from -2 ** (bits - 1), else from 0.
            symmetric: the zero in the middle.
            percentile: share of the elements in percent, for that method.

        Raises:
            DataError: the activation was not calibrated, has an obstacle, or an argument is out of range.
        """
        reason = self.obstacle(name)
        if reason is not None:
            raise DataError(f"{reason[0].upper()}{reason[1:]}.", place=name, remedy="Leave it float, or exclude the sites that need it.")
        if method not in METHODS:
            raise DataError(f"There is no calibration method {method!r}.", place=name, remedy=f"Methods: {', '.join(METHODS)}.")
        if not 2 <= bits <= 16:
            raise DataError(f"Activations have 2 to 16 bits, not {bits!r}.", place=name)
        if not 50 < percentile <= 100:
            raise DataError(f"The percentile lies between 50 and 100, not at {percentile!r}.", place=name, remedy="Such as 99.99.")
        return find_grid(method, self.tensors[name], Wanted(bits, signed, symmetric, percentile))

    def summary(self) -> tuple[Summary, ...]:
        """A line for each activation."""
        return tuple(Summary.of(name, seen, self.obstacle(name)) for name, seen in self.tensors.items())

    def check_fits(self, program: Program) -> None:
        """Refuse statistics of another program.

        Raises:
            DataError: they are.
        """
        found = fingerprint(program)
        if found != self.fingerprint:
            raise DataError(
                f"The statistics are of a program with fingerprint {self.fingerprint}; this one has {found}.",
                place="statistics",
                remedy="Calibrate again, after the same passes as stand before quantize.",
            )

    def save(self, path: str | Path) -> None:
        """Write them to an `.npz` file, atomically.

        Raises:
            NetwrightError: it cannot be written.
        """
        write_statistics(path, self.fingerprint, self.runs, self.tensors, self.channels)

    @classmethod
    def load(cls, path: str | Path, program: Program | None = None) -> Statistics:
        """Read them from a file.

        Args:
            path: the file.
            program: where given, the program that they must be of.

        Raises:
            DataError: the file is missing, damaged or no statistics, or they are of another program.
        """
        found = cls(*read_statistics(path))
        if program is not None:
            found.check_fits(program)
        return found

    def _of(self, name: str) -> TensorStatistics:
        if name not in self.tensors:
            raise DataError(f"%{name} was not calibrated.", place=name, remedy="Calibrate again with this name, or with all of them.")
        return self.tensors[name]
