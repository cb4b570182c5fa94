"""A sum of Kronecker products, as two small products on folded channels."""

from __future__ import annotations

import math

from netwright.ir.errors import PlanError
from netwright.passes.factorize.factors import Factors
from netwright.passes.factorize.operator import Operator
from netwright.passes.factorize.structures.base import Ranks
from netwright.passes.factorize.structures.divisors import splits
from netwright.passes.factorize.structures.folded import Folding, chain
from netwright.passes.factorize.structures.measured import Measured
from netwright.passes.factorize.structures.sizes import blank, require_ranks, rounded

_TRIED = 4


class Kronecker(Measured):
    """W ≈ Σ_k A_k ⊗ B_k, A_k: [m₁, n₁], B_k: [m₂, n₂], k = 1 … R (Van Loan and Pitsianis, 1993: an SVD of the weight put in another order).

    Ranks are (R, m₁, n₁). Of all splits of m and n the four with the most even A and B are tried. First all A_k contract n₁, and then all
    B_k (n₂, k); both are then fitted in turn under all that is known of the inputs.
    """

    structure = "kronecker"

    def __init__(self, operator: Operator) -> None:
        super().__init__(operator)
        self._foldings: dict[tuple[int, int], Folding] = {}

    @classmethod
    def refusal(cls, operator: Operator) -> str | None:
        """Other kinds than products, and prime sizes."""
        if operator.kind not in ("linear", "recurrent"):
            return f"Kronecker products are of products, not of the kind {operator.kind}"
        for size in operator.weight.shape:
            if not splits(size, 2):
                return f"size {size} is prime"
        return None

    @property
    def full(self) -> Ranks:
        """Of the most even split, the smaller factor's size."""
        left, right = self._tried[0]
        return (*self._folding(left, right).full, left, right)

    def ranks_for(self, parameters: int, round_to: int = 1) -> Ranks | None:
        """Of each split the largest R that fits; the split that loses least in the separate moments."""
        found: list[tuple[float, Ranks]] = []
        for left, right in self._tried:
            folding = self._folding(left, right)
            rank = min(parameters // sum(folding.sizes), folding.full[0])
            if rank:
                rank = rounded(rank, round_to)
                found.append((float(folding.tails(1)[rank]), (rank, left, right)))
        return min(found)[1] if found else None

    def shapes(self, ranks: Ranks) -> Factors:
        """Stages of broadcast zeros."""
        rank, left, right = ranks
        outputs, inputs = self.operator.weight.shape
        return chain(self.structure, ranks, [blank(1, left, right, rank), blank(rank, outputs // left, inputs // right, 1)])

    def decomposed(self, ranks: Ranks) -> Factors:
        """All A_k, then all B_k."""
        outputs, inputs = self.operator.weight.shape
        if len(ranks) != 3 or min(ranks) < 1 or outputs % ranks[1] or inputs % ranks[2]:
            raise PlanError(
                f"kronecker takes ranks (R, m₁, n₁) with m₁ a factor of {outputs} and n₁ one of {inputs}.",
                place=f"ranks={list(ranks)}",
                remedy=f"Give [R, {self.full[1]}, {self.full[2]}].",
            )
        rank, left, right = ranks
        folding = self._folding(left, right)
        require_ranks(self.structure, (rank,), folding.full)
        return chain(self.structure, ranks, folding.cores((rank,)))

    @property
    def _tried(self) -> list[tuple[int, int]]:
        """(m₁, n₁) by how even the sizes of A and B are, and how even A's own."""
        outputs, inputs = self.operator.weight.shape
        lefts = sorted({factor for split in splits(outputs, 2) for factor in split})
        rights = sorted({factor for split in splits(inputs, 2) for factor in split})
        pairs = [(left, right) for left in lefts for right in rights]

        def unevenness(pair: tuple[int, int]) -> tuple[float, float]:
            left, right = pair
            share = left * right / math.sqrt(outputs * inputs)
            return round(abs(math.log(share)), 9), round(abs(math.log(left / math.sqrt(outputs))), 9)

        return sorted(pairs, key=unevenness)[:_TRIED]

    def _folding(self, left: int, right: int) -> Folding:
        if (left, right) not in self._foldings:
            outputs, inputs = self.operator.weight.shape
            self._foldings[left, right] = Folding(self.operator, (left, outputs // left), (right, inputs // right))
        return self._foldings[left, right]
