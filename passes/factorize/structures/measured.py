"""Decompositions whose error has no closed form: it is measured on the factors."""

from __future__ import annotations

from abc import abstractmethod

from netwright.passes.factorize.factors import Factors
from netwright.passes.factorize.operator import Operator
from netwright.passes.factorize.structures.base import Decomposition, Ranks
from netwright.passes.factorize.structures.product import product


class Measured(Decomposition):
    """`error` is the energy of W − Ŵ. Errors are kept, and the factors that were asked for last."""

    def __init__(self, operator: Operator) -> None:
        super().__init__(operator)
        self._errors: dict[Ranks, float] = {}
        self._last: Factors | None = None

    def parameters(self, ranks: Ranks) -> int:
        """Elements of the stages."""
        return self.shapes(ranks).parameters

    def error(self, ranks: Ranks) -> float:
        """Energy of W − Ŵ, measured once for each ranks."""
        if ranks not in self._errors:
            difference = self.operator.weight - product(self.factors(ranks), self.operator)
            self._errors[ranks] = max(self.operator.energy(difference), 0.0)
        return self._errors[ranks]

    def factors(self, ranks: Ranks) -> Factors:
        """The factors; those asked for last are at hand."""
        if self._last is None or self._last.ranks != ranks:
            self._last = self.decomposed(ranks)
        return self._last

    @abstractmethod
    def decomposed(self, ranks: Ranks) -> Factors:
        """The factors, computed anew."""
