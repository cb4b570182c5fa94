"""Whole programs against each other: the last word, since what surrounds a site decides what it costs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netwright.ir.errors import NetwrightError
from netwright.passes.quantize.tuning.assignment import is_cheap, saved, scheme_of
from netwright.passes.quantize.tuning.evidence import relative_error
from netwright.passes.quantize.tuning.settings import Trial
from netwright.passes.quantize.tuning.timer import ratio

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Feeds
    from netwright.passes.quantize.choice import Choice
    from netwright.passes.quantize.tuning.measured import Bench, Measured
    from netwright.passes.quantize.units import Unit

BETTER = 0.99
"""What the time of a program over that of another must be below to count as faster."""

WORTH = 0.97
"""Of another candidate's time, below which being faster is worth a larger error."""

_ROUNDS = 40
_SECONDS = 1.0
"""For each program that is timed against others."""
_SHARE = 0.01
"""Of a program's time: what a group of units must promise to be tried in another form."""
_PATIENCE = 6
"""The search ends after so many groups in a row that gained nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A whole program.

    Attributes:
        label: how its choices were come by.
        choices: by unit of the float program.
        program: with them carried out.
        error: of its outputs, relative to float.
    """

    label: str
    choices: Mapping[Unit, Choice]
    program: Program
    error: float


@dataclass(frozen=True, slots=True)
class Field:
    """Where candidates compete.

    Attributes:
        program: float.
        feeds: sets of inputs; the first is timed.
        goal: the float outputs for them.
        bench: what to measure with.
        limit: on the relative error of outputs; None for none.
    """

    program: Program
    feeds: Sequence[Feeds]
    goal: Sequence[Feeds]
    bench: Bench
    limit: float | None

    def candidate(self, label: str, choices: Mapping[Unit, Choice]) -> Candidate | str:
        """Carry choices out and compare outputs; or why that is no candidate."""
        made = self.bench.carried(self.program, choices)
        wanted = list(self.goal[0])
        try:
            error = relative_error(self.goal, [self.bench.executor.run(made, one, wanted) for one in self.feeds])
        except NetwrightError as failure:
            return f"the runtime refuses it: {failure.message}"
        if error == float("inf") or (self.limit is not None and error > self.limit):
            return f"its outputs are off by {error:.2g} of their norm" + ("" if self.limit is None else f", more than {self.limit}")
        return Candidate(label, choices, made, error)

    def race(self, programs: Sequence[Program]) -> list[tuple[float, float]]:
        """Best-of milliseconds of each, and its time over that of the first."""
        taken = self.bench.timer.turns(programs, [self.feeds[0]] * len(programs), rounds=_ROUNDS, seconds=_SECONDS * len(programs))
        return [(min(own), ratio(own, taken[0])) for own in taken]

    def trials(self, found: Sequence[Candidate]) -> list[Trial]:
        """Candidates timed against float."""
        raced = self.race([self.program, *(one.program for one in found)])
        floats = Trial("float", raced[0][0], 1.0, 0.0)
        return [floats, *(Trial(one.label, ms, share, one.error) for one, (ms, share) in zip(found, raced[1:], strict=True))]


def refined(field: Field, best: Candidate, units: Sequence[Measured], trials: Sequence[Trial], until: float) -> Candidate:
    """Units of one kind in another form, or float, as long as the whole gets faster: by what they promise, until time is up, or
    patience.

    Args:
        field: where candidates compete.
        best: to start from.
        units: with what was measured.
        trials: what is known of whole programs, float first.
        until: by `time.perf_counter`.
    """
    whole_ms = trials[0].ms
    own_ms = next((one.ms for one in trials if one.label == best.label), whole_ms)
    unexplained = max(own_ms - whole_ms - sum(saved(unit, best.choices.get(unit.unit)) for unit in units), 0.0)
    failed = 0
    for group, form in _flips(best, units, whole_ms, unexplained):
        if failed == _PATIENCE or time.perf_counter() > until:
            break
        choices = dict(best.choices)
        for unit in group:
            if form is None:
                choices.pop(unit.unit, None)
            else:
                choices[unit.unit] = form
        rival = field.candidate("refined", choices) if choices and choices != best.choices else ""
        enough = BETTER if isinstance(rival, Candidate) and rival.error <= best.error else WORTH
        if isinstance(rival, Candidate) and field.race([best.program, rival.program])[1][1] < enough:
            best, failed = rival, 0
        else:
            failed += 1
    return best


def _flips(best: Candidate, units: Sequence[Measured], whole_ms: float, unexplained: float) -> list[tuple[list[Measured], Choice | None]]:
    """Groups of equal units with a form that they do not have, the most promising first; float is `None`.

    What a form promises is what it saves alone, and a quarter of what the unit takes, for alone is not within the whole; and the time
    of the whole that its units do not explain, whichever of them it is due to.
    """
    groups: dict[tuple[str, str], list[Measured]] = {}
    for unit in units:
        choice = best.choices.get(unit.unit)
        groups.setdefault((unit.group or unit.unit.sites[0].name, "float" if choice is None else repr(choice)), []).append(unit)
    found: list[tuple[float, list[Measured], Choice | None]] = []
    for members in groups.values():
        first = members[0]
        times = {None: first.ms} | {form.choice: form.ms for form in first.open}
        now = best.choices.get(first.unit)
        mine = times.get(now)
        cheap = next((form for form in first.open if form.choice == now and is_cheap(first, form, whole_ms)), None)
        for choice, ms in times.items():
            if choice == now or (choice is None and cheap is not None):
                continue
            promise = unexplained + (0.0 if ms is None or mine is None else len(members) * (1.25 * mine - ms))
            if promise > _SHARE * whole_ms or first.ms is None:
                found.append((promise, members, choice))
    return [(members, choice) for _, members, choice in sorted(found, key=lambda entry: -entry[0])]


def told(choices: Mapping[Unit, Choice], count: int) -> str:
    """How many units become what."""
    schemes = [scheme_of(choice) for choice in choices.values()]
    parts = [f"{schemes.count(name)} {name}" for name in dict.fromkeys(schemes)]
    return ", ".join([*parts, *([f"{count - len(schemes)} float"] if count > len(schemes) else [])])
