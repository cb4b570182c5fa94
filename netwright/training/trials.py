"""Short runs by which programs are compared before one of them is trained: how long a step takes, and what is learnt in a given time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import torch

from netwright.ir.errors import DataError
from netwright.training.errors import TrainingError
from netwright.training.history import HISTORY, History
from netwright.training.labelled import LabelledObjective
from netwright.training.loop import fit
from netwright.training.objective import Loss, TorchBatch
from netwright.training.randomness import seeded
from netwright.training.sampling import TrainingData
from netwright.training.validation import validation_loss

if TYPE_CHECKING:
    from netwright.data import DataLike
    from netwright.ir.program import Program
    from netwright.passes.context import Feeds
    from netwright.training.options import TrainOptions
    from netwright.training.terms import LossLike

WARM_UP, TIMED = 3, 7
"""Steps before any is timed (the first ones allocate), and steps that are."""

HELD_OUT = 8
"""Every such batch is held out of a trial, where there are that many."""


class _Watched(LabelledObjective):
    """Notes when each batch begins: from one to the next is a whole step, the optimizer's part and the data's included."""

    def __init__(self, program: Program, loss: LossLike) -> None:
        super().__init__(program, loss)
        self.starts: list[float] = []

    def loss(self, module: torch.nn.Module, batch: TorchBatch, step: int) -> Loss:
        """The loss on one batch."""
        self.starts.append(time.perf_counter())
        return super().loss(module, batch, step)


def step_time(program: Program, batches: Iterable[Feeds], *, loss: LossLike, options: TrainOptions) -> float:
    """Seconds of an optimizer step: the median of a few after a warm-up, of a copy that is thrown away.

    What disturbs the machine disturbs the measurement: to compare programs, ask for each in turn, several times, and take the least.

    Args:
        program: left as it is.
        batches: inputs and labels by name, gone through again where they are few.
        loss: see `LossLike`.
        options: of the run; its steps and schedule do not matter.

    Raises:
        TrainingError: nothing to train, or a loss that is not finite.
        DataError: no batch.
    """
    objective = _Watched(program, loss)
    once = replace(options, steps=WARM_UP + TIMED + 1, schedule="constant", accumulate=1, progress=False)
    fit(objective, _listed(batches), once)
    return statistics.median(end - start for start, end in pairwise(objective.starts[WARM_UP:]))


def trial(program: Program, batches: Iterable[Feeds], *, loss: LossLike, seconds: float, options: TrainOptions) -> tuple[float, int]:
    """Train a copy for as many steps as fit into a time, by `step_time`, which comes on top of it.

    Args:
        program: left as it is.
        batches: inputs and labels by name. Of 8 and more every eighth is held out.
        loss: see `LossLike`.
        seconds: for the steps; one is made in any case.
        options: of the run; the steps are set, and with them the schedule's end.

    Returns:
        The mean loss afterwards, and the steps made. The loss is that of the batches held out, in eval mode; where there are none, the
        mean of the last quarter of the steps.

    Raises:
        TrainingError: no time; nothing to train; a loss that is not finite.
        DataError: no batch.
    """
    if not seconds > 0:
        raise TrainingError(f"A trial cannot take {seconds} seconds.", place="seconds", remedy="Give a number above 0.")
    given = _listed(batches)
    held = given[HELD_OUT - 1 :: HELD_OUT]
    taught = [batch for place, batch in enumerate(given, start=1) if place % HELD_OUT]
    steps = max(1, int(seconds / step_time(program, taught, loss=loss, options=options)))
    objective = LabelledObjective(program, loss)
    trained = fit(objective, cast("DataLike", taught), replace(options, steps=steps, progress=False))
    if held:
        with seeded(options.seed, 0, threads=options.threads):
            return -validation_loss(objective, TrainingData(cast("DataLike", held), program))(trained), steps
    history = trained.resources[HISTORY]
    assert isinstance(history, History)
    return statistics.fmean(history.losses[-max(1, steps // 4) :]), steps


def _listed(batches: Iterable[Feeds]) -> list[Feeds]:
    """All batches, to be gone through more than once.

    Raises:
        DataError: there is none.
    """
    found = list(batches)
    if not found:
        raise DataError("The data holds no batch.", place="batches", remedy="Give at least one.")
    return found
