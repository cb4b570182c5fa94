"""HESSO: units are chosen period by period, and shrink evenly to zero."""

from __future__ import annotations

import torch

from netwright.training.group_sparse.optimizer import Directions, GroupSparse
from netwright.training.group_sparse.saliency import importance
from netwright.training.group_sparse.settings import HessoSettings


class HESSO(GroupSparse[HessoSettings]):
    """Hybrid efficient structured sparse optimizer (arXiv 2409.09085), without its trial projections (CRIC).

    At the beginning of each period the least important units (see `saliency`) are added to those that go. In its T steps each is
    multiplied, after the step towards less loss, by (T − t − 1) / (T − t), t = 0 … T − 1: without a gradient a straight way to exactly
    zero. No penalty has to be found.
    """

    def prune(self, directions: Directions) -> None:
        """See the class."""
        first, length, share = self._period()
        at = self._step - first
        if at == 0:
            self._chosen = self.choose(importance(self.measured()), int(share * self.count + 1e-6))
        self.move(directions)
        shrinking = self._chosen & ~self.zero
        self.scale(torch.where(shrinking, (length - at - 1) / (length - at), 1.0))
        if at == length - 1:
            self._mark(self._chosen)

    def last(self) -> torch.Tensor:
        """The chosen units, all zero by now."""
        return self._chosen

    def _period(self) -> tuple[int, int, float]:
        """First step and length of the period, and the share of the units to go that are gone at its end."""
        steps = self.end - self.begin
        periods = min(self.settings.periods, steps)
        number = max(one for one in range(periods) if self.begin + one * steps // periods <= self._step)
        first, following = (self.begin + one * steps // periods for one in (number, number + 1))
        return first, following - first, (number + 1) / periods
