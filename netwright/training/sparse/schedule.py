"""How a penalty goes over a run: nothing, growing, holding, over."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PenaltySchedule:
    """A pure function of the step, so that there is no state to save.

    Attributes:
        steps: of the whole run; None for one without an end, in which a penalty is whole from the first step.
        begin: share of the steps before the penalty.
        ramp: share in which it grows.
        settle: share at the end in which there is none, and zeros stay.
    """

    steps: int | None
    begin: float
    ramp: float
    settle: float

    def strength(self, step: int) -> float:
        """The part of the whole penalty that is laid on at a step, from 0: none, then growing by equal parts, then all, then none."""
        if self.settled(step):
            return 0.0
        return self._ramped(step)

    def share(self, step: int) -> float:
        """The part of the zeros to be reached that there should be after a step: along a cubic, quick at first, slow at the end.

        (Zhu and Gupta, To prune, or not to prune, arXiv 1710.01878.)
        """
        return 1.0 - (1.0 - self._ramped(step)) ** 3

    def settled(self, step: int) -> bool:
        """Whether a step comes after all penalties."""
        return self.steps is not None and step >= self.last_penalty

    @property
    def last_penalty(self) -> int:
        """How many steps have a penalty laid on, or none yet."""
        assert self.steps is not None
        return self.steps - math.floor(self.settle * self.steps)

    @property
    def ramp_steps(self) -> float:
        """How many steps the ramp has; one at the least."""
        return max(1.0, self.ramp * (self.steps or 0))

    def _ramped(self, step: int) -> float:
        if self.steps is None:
            return 1.0
        begin, length = self.begin * self.steps, self.ramp * self.steps
        return 1.0 if step + 1 >= begin + length else max(0.0, (step + 1 - begin) / length)
