"""What tuning is told, what it calls, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from netwright.ir.program import Program
from netwright.passes.quantize.choice import ActivationGrid, Choice
from netwright.passes.quantize.units import Unit
from netwright.passes.rewrite import Miss

Grids = Mapping[str, ActivationGrid]
Carry = Callable[[Program, Mapping[Unit, Choice], Grids], Program]
"""A clone of the program in which units of it are quantized as chosen; units that are not named stay float."""


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """Limits of a search.

    Attributes:
        site_error: a choice is no option for a site where its output is off by more, relative to float in the Euclidean norm.
        output_error: a whole program is no candidate where its outputs are; None for no limit. What quantizes well is off by 0.3 at most;
            a text recogniser with all products static, the fastest, by 0.4.
        seconds: the search for better mixtures ends after so long; what came before it (measuring sites and candidates) is always done.
        cache: folder of timings of earlier runs; None to measure all anew and keep nothing.
    """

    site_error: float = 0.2
    output_error: float | None = 0.35
    seconds: float = 30.0
    cache: Path | None = field(default_factory=lambda: Path.home() / ".cache" / "netwright" / "timings")


@dataclass(frozen=True, slots=True)
class Trial:
    """A whole program that was timed.

    Attributes:
        label: such as `all dynamic`.
        ms: best-of latency.
        ratio: its time over that of float, median over turns.
        error: of its outputs, relative to float.
    """

    label: str
    ms: float
    ratio: float
    error: float


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a search came to.

    Attributes:
        choices: for each unit what it becomes, or a Miss (at its first site) that says why it stays float.
        trials: the whole programs that were timed, float first.
        note: the outcome in a sentence, for the plan.
        able: units that could be integers, as far as errors go; those of them that stay float do so for their time.
    """

    choices: Mapping[Unit, Choice | Miss]
    trials: tuple[Trial, ...]
    note: str
    able: frozenset[Unit] = frozenset()

    @property
    def chosen(self) -> dict[Unit, Choice]:
        """The units that become integers."""
        return {unit: found for unit, found in self.choices.items() if not isinstance(found, Miss)}

    @property
    def misses(self) -> tuple[Miss, ...]:
        """One for each site that stays float."""
        return tuple(
            Miss(found.reason, site.name) for unit, found in self.choices.items() if isinstance(found, Miss) for site in unit.sites
        )
