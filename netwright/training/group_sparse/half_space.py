"""HSPG and DHSPG: gradient descent with a pull towards zero, and a projection of units that turn back on themselves."""

from __future__ import annotations

from typing import TypeVar

import torch

from netwright.training.group_sparse.optimizer import Directions, GroupSparse
from netwright.training.group_sparse.saliency import redundancy
from netwright.training.group_sparse.settings import DhspgSettings, HspgSettings

S = TypeVar("S", HspgSettings, DhspgSettings)

_DEFAULTS = {"adamw": (1e-2, 20.0, 1e3), "momentum": (1e-3, 2.0, 10.0), "sgd": (1e-3, 2.0, 10.0)}
"""By base: λ₀, amplification and ceiling of DHSPG."""

_TINY = 1e-30


class _HalfSpace(GroupSparse[S]):
    """A step x' = x − lr (d + λ_u x_u / ‖x_u‖), after which units with ⟨x'_u, x_u⟩ < ε ‖x_u‖² are zero.

    The test needs no x': ⟨x', x⟩ / ‖x‖² = 1 − lr (⟨x, d⟩ / ‖x‖² + λ / ‖x‖).
    """

    def pull(self, directions: Directions, squares: torch.Tensor, along: torch.Tensor, penalty: torch.Tensor, may: torch.Tensor) -> None:
        """Make the step; units that may become zero, and turn back, are.

        Args:
            directions: towards less loss.
            squares: ‖x_u‖².
            along: ⟨x_u, d_u⟩.
            penalty: λ_u.
            may: bool, the units that may become zero.
        """
        alive = squares > 0
        shrink = torch.where(alive, penalty / squares.sqrt().clamp_min(_TINY), 0.0)
        left = 1 - self.lr * (along / squares.clamp_min(_TINY) + shrink)
        self.move(directions, shrink)
        self._mark(may & (~alive | (left < self.settings.half_space)))


class HSPG(_HalfSpace[HspgSettings]):
    """Half-space projected gradient (arXiv 2009.13716).

    Every unit is penalised by λ ‖x_u‖, with norms as multiples of their group's mean when pruning begins. Units that turn back on
    themselves become zero. With a share of zeros to reach, only the smallest units (as many as are to go) may; the number of zeros keeps at
    least to a straight way there, by taking the smallest where too few have turned back; and once all are there, nothing is penalised.
    """

    def prune(self, directions: Directions) -> None:
        """See the class."""
        squares = self.squares()
        relative = self.relative(squares.sqrt())
        may = self.choose(relative, self.count)
        penalty = self.strength(self.settings.penalty) if bool((may & ~self.zero).any()) else 0.0
        spared = ~may & (self.pace(relative) <= penalty)
        penalties = torch.where(spared, 0.0, penalty * self._scales)
        self.pull(directions, squares, self.inner(directions), penalties, may)
        self._mark(self.due(relative))

    def last(self) -> torch.Tensor:
        """The smallest units; without a share to reach, no more than leave round counts."""
        return self.choose(self.relative(self.squares().sqrt()), 0 if self.settings.sparsity is None else self.count)


class DHSPG(_HalfSpace[DhspgSettings]):
    """Dual half-space projected gradient (OTOv2, arXiv 2303.06862).

    When pruning begins, the most redundant units are chosen (see `saliency`), as many as are to go. The others are only trained. On a
    chosen unit with ⟨x, d⟩ ≥ 0 lies λ₀: loss and norm fall together. Otherwise the norm falls for λ > lo = −⟨x, d⟩ / ‖x‖, and d is still a
    way down for λ < hi = −‖d‖² ‖x‖ / ⟨x, d⟩; lo ≤ hi by Cauchy and Schwarz. λ is `amplify` · lo, within [λ₀, `ceiling` · λ₀], and the
    middle of lo and hi where that is not below hi. (After the ceiling λ may lie below lo: then the loss alone falls.)

    λ₀ is raised to ‖x‖ / (lr · steps left) where it is less, so that chosen units arrive by the end of pruning, however few steps there
    are. Those that have not turned back by then become zero.
    """

    def prune(self, directions: Directions) -> None:
        """See the class."""
        if self._step == self.begin:
            self._chosen = self.choose(-redundancy(self.measured()), self.count)
        squares, along = self.squares(), self.inner(directions)
        size = self.units.sums(lambda parameter: found.square() if (found := directions.get(parameter)) is not None else None)
        penalty = torch.where(self._chosen & ~self.zero, self.penalties(squares.sqrt(), along, size), 0.0)
        self.pull(directions, squares, along, penalty, self._chosen)

    def penalties(self, norms: torch.Tensor, along: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        """λ_u.

        Args:
            norms: ‖x_u‖.
            along: ⟨x_u, d_u⟩.
            size: ‖d_u‖².
        """
        least, amplify, ceiling = self._options()
        least = self.pace(norms).clamp_min(least)
        low = -along / norms.clamp_min(_TINY)
        high = size * norms / (-along).clamp_min(_TINY)
        found = torch.minimum(torch.maximum(amplify * low, least), ceiling * least)
        found = torch.where(found >= high, (low + high) / 2, found)
        return torch.where(along >= 0, least, found)

    def last(self) -> torch.Tensor:
        """The chosen units."""
        return self._chosen

    def _options(self) -> tuple[float, float, float]:
        given, known = self.settings, _DEFAULTS[self.settings.base]
        chosen = (given.penalty, given.amplify, given.ceiling)
        least, amplify, ceiling = (one if value is None else value for value, one in zip(chosen, known, strict=True))
        return least, amplify, ceiling
