"""Each unit alone: how long it takes as float and as each of its choices, and how far its output is off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from netwright.ir.errors import NetwrightError
from netwright.passes.quantize.static.operators import moves_integers
from netwright.passes.quantize.tuning.borders import owners, values_between
from netwright.passes.quantize.tuning.converters import Converters, converter_programs, converters_of
from netwright.passes.quantize.tuning.cores import integer_core
from netwright.passes.quantize.tuning.evidence import relative_error
from netwright.passes.quantize.tuning.places import Place, place_of, same_units
from netwright.passes.quantize.tuning.signature import signature

if TYPE_CHECKING:
    import numpy as np

    from netwright.ir.program import Program
    from netwright.passes.context import Executor, Feeds
    from netwright.passes.quantize.choice import Choice
    from netwright.passes.quantize.tuning.cache import TimingCache
    from netwright.passes.quantize.tuning.settings import Carry, Grids
    from netwright.passes.quantize.tuning.timer import TurnTimer
    from netwright.passes.quantize.units import Unit

_ROUNDS = 12
_SECONDS = 0.12
"""Of one unit: all its forms in turns."""
_LEAST = 1e-4
"""Milliseconds: what the clock tells from nothing."""


@dataclass(frozen=True, slots=True)
class Form:
    """One choice for one unit.

    Attributes:
        choice: what it becomes.
        ms: of the unit alone; None where it was not timed.
        error: of its output, relative to float.
        refusal: why it is no option; empty where it is.
        made: the unit alone in this form, while it is being measured.
    """

    choice: Choice
    ms: float | None = None
    error: float = 0.0
    refusal: str = ""
    made: Program | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of one unit.

    Attributes:
        unit: of the program.
        ms: as float; None where it was not timed.
        forms: one for each choice offered, in order.
        group: equal for units that take the same time.
        place: where it stands; None where it could not be cut out.
    """

    unit: Unit
    ms: float | None
    forms: tuple[Form, ...]
    group: str = ""
    place: Place | None = None

    @property
    def open(self) -> tuple[Form, ...]:
        """The forms that are options."""
        return tuple(form for form in self.forms if not form.refusal)


@dataclass(frozen=True, slots=True)
class Bench:
    """What units are measured with.

    Attributes:
        carry: carries choices out.
        grids: of activations.
        executor: runs programs.
        timer: times them.
        cache: knows earlier timings.
        idle: milliseconds of a run that does nothing.
    """

    carry: Carry
    grids: Grids
    executor: Executor
    timer: TurnTimer
    cache: TimingCache
    idle: float = 0.0

    def carried(self, program: Program, choices: Mapping[Unit, Choice], grids: Grids | None = None) -> Program:
        """Choices carried out, weights rounded to the nearest: that takes no data, and no less time to run.

        Args:
            program: left as it is.
            choices: by unit of it.
            grids: those of the bench where not given.
        """
        plain = {unit: replace(choice, rounding="nearest") for unit, choice in choices.items()}
        known = {value.name for value in (*program.graph.inputs, *(value for node in program.nodes() for value in node.outputs))}
        every = self.grids if grids is None else grids
        return self.carry(program, plain, {name: grid for name, grid in every.items() if name in known})

    def timed(self, programs: Sequence[Program], feeds: Sequence[Feeds]) -> list[float]:
        """Best-of milliseconds of rivals, above those of an idle run: known ones where all are known, else all are measured, in turns."""
        keys = [signature(one, given) for one, given in zip(programs, feeds, strict=True)]
        known = [self.cache.get(key) for key in keys]
        if all(ms is not None for ms in known):
            self.cache.found += len(keys)
            return [self._above_idle(ms) for ms in known if ms is not None]
        found = [min(own) for own in self.timer.turns(programs, feeds, rounds=_ROUNDS, seconds=_SECONDS)]
        self.cache.measured += len(keys)
        for key, ms in zip(keys, found, strict=True):
            self.cache.put(key, ms)
        return [self._above_idle(ms) for ms in found]

    def grids_of(self, place: Place) -> Grids:
        """All grids, with those of what the place reads behind nodes that move integers."""
        found = dict(self.grids)
        for value in place.given:
            source = value
            while source.name not in found and (node := source.producer()) is not None and moves_integers(node):
                if node.inputs[0] is None:
                    break
                source = node.inputs[0]
            if source.name in found:
                found[value.name or ""] = found[source.name or ""]
        return found

    def _above_idle(self, ms: float) -> float:
        return max(ms - self.idle, _LEAST)


def measure_units(program: Program, options: Mapping[Unit, Sequence[Choice]], feeds: Feeds, bench: Bench, limit: float) -> list[Measured]:
    """Measure every unit alone, on the activations that it sees.

    Memory: all activations that units read, for one set of inputs. Time: for each unit a session for each choice.

    Args:
        program: left as it is.
        options: choices by unit of it.
        feeds: inputs of it.
        bench: what to measure with.
        limit: on the relative error of a unit's output.
    """
    places = {unit: place_of(unit, program) for unit in options}
    read = dict.fromkeys(value.name or "" for place in places.values() if isinstance(place, Place) for value in place.given)
    arrays = bench.executor.run(program, feeds, list(read)) if read else {}
    return [
        Measured(unit, None, tuple(Form(choice) for choice in choices))
        if isinstance(place := places[unit], str)
        else _measured(program, place, choices, {value.name or "": arrays[value.name or ""] for value in place.given}, bench, limit)
        for unit, choices in options.items()
    ]


def calibrated(bench: Bench) -> tuple[Bench, Converters]:
    """The bench with the time of an idle run, and what converters take."""
    programs = converter_programs()
    idle, quantize, dequantize = bench.timed([one for one, _ in programs], [feeds for _, feeds in programs])
    return replace(bench, idle=idle), converters_of(idle, quantize, dequantize)


def sizes_between(program: Program, units: Sequence[Measured], feeds: Feeds, executor: Executor) -> dict[str, int]:
    """Elements by name of the values at which integers may end. Memory: those values, for one set of inputs."""
    places = [unit.place for unit in units if unit.place is not None]
    names = [value.name or "" for value in values_between(program, owners(program, places))]
    return {name: array.size for name, array in executor.run(program, feeds, names).items()} if names else {}


def _measured(
    program: Program, place: Place, choices: Sequence[Choice], given: Mapping[str, np.ndarray], bench: Bench, limit: float
) -> Measured:
    alone = place.alone(program, given)
    own = same_units(alone, [place.unit]).get(place.unit)
    if own is None:
        return Measured(place.unit, None, tuple(Form(choice) for choice in choices))
    goal = bench.executor.run(alone, given)
    grids = bench.grids_of(place)
    key = signature(alone, given)
    forms = [Form(choice, made=bench.carried(alone, {own: choice}, grids)) for choice in choices]
    judged = [_judged(form, key, given, goal, bench.executor, limit) for form in forms]
    runnable = [form for form in judged if form.made is not None]
    rivals = [(alone, given), *(integer_core(form.made, given) for form in runnable if form.made is not None)]
    times = bench.timed([one for one, _ in rivals], [fed for _, fed in rivals])
    ms = {id(form): found for form, found in zip(runnable, times[1:], strict=True)}
    timed = tuple(replace(form, ms=ms.get(id(form)), made=None) for form in judged)
    return Measured(place.unit, times[0], timed, key, place)


def _judged(form: Form, key: str, given: Mapping[str, np.ndarray], goal: Feeds, executor: Executor, limit: float) -> Form:
    assert form.made is not None, "carried out"
    if signature(form.made, given) == key:
        return replace(form, refusal="it cannot be written: a grid is missing, or its operands do not suit", made=None)
    try:
        error = relative_error([goal], [executor.run(form.made, given)])
    except NetwrightError as failure:
        return replace(form, error=float("inf"), refusal=f"the runtime refuses it: {failure.message}", made=None)
    return replace(form, error=error, refusal=f"its output is off by {error:.2g} of its norm, more than {limit}" if error > limit else "")
