"""Tensor train: a product as a chain of small ones on folded channels."""

from __future__ import annotations

from functools import cached_property

from netwright.passes.factorize.factors import Factors
from netwright.passes.factorize.operator import Operator
from netwright.passes.factorize.structures.base import Ranks
from netwright.passes.factorize.structures.divisors import even_split
from netwright.passes.factorize.structures.folded import Folding, chain
from netwright.passes.factorize.structures.measured import Measured
from netwright.passes.factorize.structures.sizes import blank, require_ranks, rounded

_LARGE = 2**20


class TT(Measured):
    """W as a train of two cores, or of three from 2²⁰ elements on; sizes m and n are split evenly, one ascending and one descending.

    Ranks for a size come of δ-truncation (Oseledets, 2011): each cut keeps as few components as lose at most δ², for the least δ that fits.
    The cores are then fitted in turn under all that is known of the inputs.

    What a recurrent layer's input meets is a train of the inputs' cores, the outputs together in the last: ONNX's layers take one matrix.
    """

    structure = "tt"

    @classmethod
    def refusal(cls, operator: Operator) -> str | None:
        """Other kinds than products, and sizes without two factors of similar size."""
        if operator.kind not in ("linear", "recurrent"):
            return f"a tensor train is of products, not of the kind {operator.kind}"
        for size in operator.weight.shape[1 if operator.kind == "recurrent" else 0 :]:
            if even_split(size, 2) is None:
                return f"size {size} has no two factors of similar size"
        return None

    @property
    def full(self) -> Ranks:
        """Of each cut, the smaller side's size."""
        return self._folding.full

    def ranks_for(self, parameters: int, round_to: int = 1) -> Ranks | None:
        """Ranks of δ-truncation; the least δ whose ranks fit."""
        if self.parameters((1,) * len(self.full)) > parameters:
            return None
        tails = [self._folding.tails(cut) for cut in range(1, len(self.full) + 1)]
        levels = sorted({float(value) for tail in tails for value in tail[1:]})  # what is lost, cut by cut; the least that fits
        low, high = 0, len(levels) - 1
        while low < high:
            middle = (low + high) // 2
            fits = self.parameters(self._truncated(levels[middle], round_to)) <= parameters
            low, high = (low, middle) if fits else (middle + 1, high)
        ranks = self._truncated(levels[low], round_to)
        return ranks if self.parameters(ranks) <= parameters else (1,) * len(ranks)

    def _truncated(self, lost: float, round_to: int) -> Ranks:
        """The least ranks each of which loses at most so much, rounded down."""
        found: list[int] = []
        for cut, limit in enumerate(self.full, start=1):
            tail = self._folding.tails(cut)[: limit + 1]
            found.append(rounded(max(int((tail > lost).sum()), 1), round_to))
        return tuple(found)

    def shapes(self, ranks: Ranks) -> Factors:
        """Stages of broadcast zeros."""
        folding = self._folding
        before, after = (1, *ranks), (*ranks, 1)
        return chain(self.structure, ranks, [blank(*size) for size in zip(before, folding.outputs, folding.inputs, after, strict=True)])

    def decomposed(self, ranks: Ranks) -> Factors:
        """One stage for each core."""
        require_ranks(self.structure, ranks, self.full)
        return chain(self.structure, ranks, self._folding.cores(ranks))

    @cached_property
    def _folding(self) -> Folding:
        outputs, inputs = self.operator.weight.shape
        if self.operator.kind == "recurrent":
            split = even_split(inputs, 2)
            assert split is not None, "refused: a size without factors"
            return Folding(self.operator, (1, 1, outputs), (*split[::-1], 1))
        for count in (3, 2) if outputs * inputs >= _LARGE else (2,):
            left, right = even_split(outputs, count), even_split(inputs, count)
            if left is not None and right is not None:
                return Folding(self.operator, left, right[::-1])
        raise AssertionError("refused: a size without factors")
