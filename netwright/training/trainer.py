"""Training for passes: the `Trainer` of their context."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from netwright.training.extra import require_extra
from netwright.training.options import TrainOptions

if TYPE_CHECKING:
    from netwright.data import DataLike
    from netwright.ir.program import Program
    from netwright.passes.context import Feeds, Loss
    from netwright.training.terms import LossLike


@dataclass(frozen=True, slots=True)
class TorchTrainer:
    """`Trainer` of a pass's context, on torch; torch is loaded when it is asked to train.

    Attributes:
        seed: of everything random.
        threads: of torch on the CPU; as they are where not given.
    """

    seed: int = 0
    threads: int | None = None

    def train(self, program: Program, batches: Iterable[Feeds], *, loss: Loss, epochs: int = 1, lr: float | None = None) -> Program:
        """A program of the same structure with trained weights; all options are `TrainOptions`' own."""
        return self.fit(program, batches, loss=loss, options=TrainOptions(epochs=epochs, lr=lr, seed=self.seed, threads=self.threads))

    def fit(self, program: Program, batches: Iterable[Feeds], *, loss: Loss, options: TrainOptions, train_norms: bool = False) -> Program:
        """The same with all options.

        Raises:
            TrainingError: nothing to train, an unknown loss, or a loss that is not finite.
        """
        require_extra()
        from netwright.training.labelled import LabelledObjective
        from netwright.training.loop import fit

        objective = LabelledObjective(program, cast("LossLike", loss), train_norms=train_norms)
        return fit(objective, cast("DataLike", batches), options)

    def step_time(self, program: Program, batches: Iterable[Feeds], *, loss: Loss) -> float:
        """Seconds of one optimizer step; see `trials.step_time`."""
        require_extra()
        from netwright.training.trials import step_time

        return step_time(program, batches, loss=cast("LossLike", loss), options=TrainOptions(seed=self.seed, threads=self.threads))

    def trial(
        self, program: Program, batches: Iterable[Feeds], *, loss: Loss, seconds: float, lr: float | None = None
    ) -> tuple[float, int]:
        """What a copy learns in a given time, as (mean loss, steps); see `trials.trial`."""
        require_extra()
        from netwright.training.trials import trial

        options = TrainOptions(lr=lr, seed=self.seed, threads=self.threads)
        return trial(program, batches, loss=cast("LossLike", loss), seconds=seconds, options=options)
