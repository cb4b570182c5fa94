"""W ≈ U M V: three thin products in the place of one."""

from __future__ import annotations

import math

import numpy as np

from netwright.passes.factorize.factors import Factors, Stage
from netwright.passes.factorize.operator import Operator
from netwright.passes.factorize.structures.base import Decomposition, Ranks
from netwright.passes.factorize.structures.low_rank import LowRank
from netwright.passes.factorize.structures.sizes import blank, require_ranks, rounded


class LowRank3(Decomposition):
    """W ≈ U M V, U: [m, r₁], M: [r₁, r₂], V: [r₂, n]: for training from scratch, where a deeper product of the same size learns otherwise.

    The product is that of `LowRank` with rank min(r₁, r₂); each component's norm is spread evenly over the three, so that M is diagonal.
    Directions that only U or only V has start unused: M's zeros there are trained.
    """

    structure = "low_rank3"

    def __init__(self, operator: Operator) -> None:
        super().__init__(operator)
        self._two = LowRank(operator)

    @classmethod
    def refusal(cls, operator: Operator) -> str | None:
        """Other kinds than products, and matrices without a lower rank."""
        if operator.kind not in ("linear", "recurrent"):
            return f"three factors are made of products, not of the kind {operator.kind}"
        return LowRank.refusal(operator)

    @property
    def full(self) -> Ranks:
        """(min(m, n), min(m, n))."""
        return self._two.full * 2

    def ranks_for(self, parameters: int, round_to: int = 1) -> Ranks | None:
        """The largest rank that fits, the same on both sides."""
        sizes = sum(self.operator.weight.shape)
        rank = min((math.isqrt(sizes * sizes + 4 * max(parameters, 0)) - sizes) // 2, self.full[0])
        return (rounded(rank, round_to),) * 2 if rank else None

    def parameters(self, ranks: Ranks) -> int:
        """M r₁ + r₁ r₂ + r₂ n."""
        outputs, inputs = self.operator.weight.shape
        return outputs * ranks[0] + ranks[0] * ranks[1] + ranks[1] * inputs

    def error(self, ranks: Ranks) -> float:
        """The sum of the eigenvalues that are left out of the smaller rank."""
        require_ranks(self.structure, ranks, self.full)
        return self._two.error((min(ranks),))

    def factors(self, ranks: Ranks) -> Factors:
        """V, then M, then U."""
        require_ranks(self.structure, ranks, self.full)
        left, right, norms = (part[0] for part in self._two.components)
        share = np.cbrt(np.where(norms > 0, norms, 1.0))
        middle = np.eye(ranks[0], ranks[1]) * share[: ranks[0], None]
        return self._chain(left[:, : ranks[0]] * share[: ranks[0]], middle, right[: ranks[1]] / share[: ranks[1], None] ** 2)

    def shapes(self, ranks: Ranks) -> Factors:
        """Stages of broadcast zeros."""
        outputs, inputs = self.operator.weight.shape
        return self._chain(blank(outputs, ranks[0]), blank(*ranks), blank(ranks[1], inputs))

    def _chain(self, left: np.ndarray, middle: np.ndarray, right: np.ndarray) -> Factors:
        return Factors(self.structure, (middle.shape[0], middle.shape[1]), (Stage(right), Stage(middle), Stage(left)))
