"""A machine on which every operator takes a time that is known, and a context with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.passes.context import Context, Feeds
from netwright.passes.plan import Plan
from netwright.passes.quantize.calibration import calibrate
from netwright.passes.quantize.carrying import Carrying
from netwright.passes.quantize.choice import ActivationGrid, Choice
from netwright.passes.quantize.reading import decisions_of
from netwright.passes.quantize.static import activations_of
from netwright.passes.quantize.tuning import Tuned, TuneSettings, tuned
from netwright.passes.quantize.units import Unit

Cost = Callable[[Program], float]


@dataclass
class KnownTimer:
    """`TurnTimer` without a clock: milliseconds by operator, 0.01 where not given, and 0.005 for a run.

    Attributes:
        ms: by operator.
        extra: added for a program.
        timed: all programs that were timed.
    """

    ms: Mapping[str, float]
    extra: Cost = lambda program: 0.0
    timed: list[Program] = field(default_factory=list[Program])

    def time(self, program: Program) -> float:
        return 0.005 + self.extra(program) + sum(self.ms.get(node.op_type, 0.01) for node in program.nodes())

    def turns(self, programs: Sequence[Program], feeds: Sequence[Feeds], *, rounds: int, seconds: float) -> list[list[float]]:
        for program, given in zip(programs, feeds, strict=True):
            assert {value.name for value in program.inputs} == set(given)
        self.timed.extend(programs)
        return [[self.time(program)] * 3 for program in programs]


def context(timer: KnownTimer, *batches: dict[str, np.ndarray]) -> Context:
    """A context that runs on ONNX Runtime, and whose clock is known."""
    return Context(executor=OrtExecutor(), timer=timer, calibration=list(batches))


def tune(
    program: Program,
    options: Mapping[Unit, Sequence[Choice]],
    timer: KnownTimer,
    *batches: dict[str, np.ndarray],
    settings: TuneSettings | None = None,
) -> Tuned:
    """`tuned`, with grids for all that might be static."""
    given = context(timer, *batches)
    names = activations_of(program, options)
    seen = calibrate(program, names, given)
    grids = {name: seen.grid(name) for name in names}

    def carry(whole: Program, choices: Mapping[Unit, Choice], known: Mapping[str, ActivationGrid]) -> Program:
        return Carrying(given).carried(whole, Plan(pass_name="quantize", fingerprint="", decisions=decisions_of(choices, known)))

    return tuned(program, options, grids, given, carry, settings or TuneSettings(cache=None))
