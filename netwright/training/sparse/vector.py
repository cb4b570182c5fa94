"""The sparse optimizer on plain arrays: a parameter vector and a gradient vector in, a parameter vector out. No model, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import cast

import numpy as np

from netwright.training.errors import TrainingError
from netwright.training.sparse.arithmetic import Ledger, Part, Slot, take_step
from netwright.training.sparse.schedule import PenaltySchedule
from netwright.training.sparse.settings import SparseSettings


class SparseDescent:
    """Minimise a function of a vector, most of whose entries are to be zero.

        descent = SparseDescent(SparseSettings(penalty=0.1, base="sgd"), lr=0.01, steps=1000)
        for _ in range(1000):
            w = descent.step(w, gradient(w))

    Every entry is penalised. The same settings on torch's tensors (`SparseOptimizer`) give the same numbers.

    Args:
        settings: what is penalised, and how. `tensors`, `where` and `exclude` have no meaning here.
        lr: learning rate; may be set between steps.
        steps: of the whole run, for the schedule; None for a penalty that is whole from the first step.
        weight_decay: apart from the gradient, per unit of learning rate.

    Raises:
        TrainingError: settings that lack something; a share of zeros without a number of steps.
    """

    def __init__(self, settings: SparseSettings, *, lr: float, steps: int | None = None, weight_decay: float = 0.0) -> None:
        settings.complete()
        check_steps(settings, steps)
        self.lr = lr
        self._settings = settings
        self._weight_decay = weight_decay
        self._schedule = PenaltySchedule(steps, settings.begin, settings.ramp, settings.settle)
        self._ledger = Ledger()
        self._state: dict[str, np.ndarray] = {}

    def step(self, params: np.ndarray, grads: np.ndarray) -> np.ndarray:
        """The parameters after one step; what is given stays as it is.

        Args:
            params: of any shape; floats.
            grads: gradient of the loss there, of the same shape.

        Raises:
            TrainingError: the shapes differ.
        """
        if params.shape != grads.shape:
            raise TrainingError(
                f"There are {params.shape} parameters and {grads.shape} gradients.", place="grads", remedy="Give one for each."
            )
        slot = Slot(params, grads, self._state)
        take_step([Part([slot], self.lr, self._weight_decay, True, self._ledger)], self._settings, self._schedule, NumpyOps())
        return slot.weight

    @property
    def settled(self) -> bool:
        """Whether no further penalty will be laid on."""
        return self._schedule.settled(self._ledger.step)

    def state_dict(self) -> dict[str, object]:
        """Everything that is needed to go on: numbers, and arrays by name."""
        return {**asdict(self._ledger), "state": {name: array.copy() for name, array in self._state.items()}}

    def load_state_dict(self, saved: Mapping[str, object]) -> None:
        """Go on from what `state_dict` gave, bit for bit.

        Raises:
            TrainingError: it is something else.
        """
        if set(saved) != set(self.state_dict()):
            raise TrainingError("This is no state of a SparseDescent.", place="state_dict", remedy="Give what state_dict() returned.")
        self._ledger = Ledger(cast("int", saved["step"]), cast("float", saved["laid"]), cast("float", saved["rate"]))
        self._state = {name: array.copy() for name, array in cast("Mapping[str, np.ndarray]", saved["state"]).items()}


def check_steps(settings: SparseSettings, steps: int | None) -> None:
    """Refuse a share of zeros without an end by which to reach it.

    Raises:
        TrainingError: there is none.
    """
    if settings.sparsity is not None and steps is None:
        raise TrainingError("A share of zeros is reached over so many steps.", place="steps", remedy="Give steps=, or penalty= instead.")


class NumpyOps:
    """See `Ops`."""

    def zeros_like(self, x: np.ndarray, /) -> np.ndarray:
        """Zeros of the same shape."""
        return np.zeros(x.shape, np.result_type(x.dtype, np.float32))

    def sign(self, x: np.ndarray, /) -> np.ndarray:
        """−1, 0 or 1."""
        return np.sign(x)

    def size_of(self, x: np.ndarray, /) -> np.ndarray:
        """Each number without its sign."""
        return np.abs(x)

    def sqrt(self, x: np.ndarray, /) -> np.ndarray:
        """The square root."""
        return np.sqrt(x)

    def keep_above(self, threshold: float, test: np.ndarray, x: np.ndarray, /) -> np.ndarray:
        """`x` where `test` is above the threshold, +0.0 elsewhere."""
        return np.where(test > threshold, x, x.dtype.type(0))

    def smallest(self, arrays: Sequence[np.ndarray], count: int, /) -> float:
        """The largest of the `count` smallest numbers."""
        return float(np.partition(np.concatenate([array.reshape(-1) for array in arrays]), count - 1)[count - 1])

    def count_zeros(self, x: np.ndarray, /) -> int:
        """How many numbers are zero."""
        return x.size - int(np.count_nonzero(x))

    def count(self, x: np.ndarray, /) -> int:
        """How many numbers there are."""
        return x.size
