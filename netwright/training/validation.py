"""The loss on data that is not trained on, as a score."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from netwright.training.stepper import batch_tensors

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.training.objective import Objective
    from netwright.training.sampling import TrainingData


def validation_loss(objective: Objective, data: TrainingData) -> Callable[[Program], float]:
    """Minus the mean loss over data, of the objective's module as it is when the score is taken.

    Args:
        objective: its module is put into eval mode meanwhile.
        data: each batch counts by its rows.
    """

    def score(_: Program) -> float:
        module = objective.module
        was_training = module.training
        device = next(module.parameters()).device
        total, rows = 0.0, 0
        module.eval()
        try:
            with torch.no_grad():
                for batch in data:
                    count = max((len(array) for array in batch.values() if array.ndim), default=1)
                    total += count * float(objective.loss(module, batch_tensors(batch, device), 0).total)
                    rows += count
        finally:
            module.train(was_training)
        return -total / max(1, rows)

    return score
