"""The proximal group lasso: the plain rival of half-space projections."""

from __future__ import annotations

import torch

from netwright.training.group_sparse.optimizer import Directions, GroupSparse
from netwright.training.group_sparse.settings import GroupLassoSettings


class ProximalGroupLasso(GroupSparse[GroupLassoSettings]):
    """Proximal gradient descent on f(x) + λ Σ_u ‖x_u‖ (Yuan and Lin 2006).

    After each step x'_u ← x'_u · max(0, 1 − lr λ / ‖x'_u‖), with norms as multiples of their group's mean when pruning begins (in the place
    of √|u|, which makes up for size and not for scale). The proximal step is apart from the moments, with AdamW too; a unit that it makes
    zero may come back. With a share of zeros to reach, only the smallest units (as many as are to go) become zero, and their number keeps
    to a straight way there: those that this takes are zero for good.
    """

    def prune(self, directions: Directions) -> None:
        """See the class."""
        self.move(directions)
        relative = self.relative(self.squares().sqrt())
        may = self.choose(relative, self.count)
        left = (1 - self.lr * self.strength(self.settings.penalty) / relative.clamp_min(1e-30)).clamp_min(0)
        self.scale(torch.where(may | (left > 0), left, 1.0))
        self._mark(self.due(relative))

    def last(self) -> torch.Tensor:
        """The smallest units; without a share to reach, those that are zero, and what leaves round counts."""
        relative = self.relative(self.squares().sqrt())
        return self.choose(relative, 0 if self.settings.sparsity is None else self.count, self.zero | (relative == 0))
