"""What every decomposition of an operator offers: candidates with their sizes and errors, and the factors of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from netwright.passes.factorize.factors import Factors
from netwright.passes.factorize.operator import Operator

Ranks = tuple[int, ...]


class Decomposition(ABC):
    """Ways of writing one operator in one structure, by inner sizes. What is costly is computed once, when it is first asked for.

    Attributes:
        structure: its name.
        operator: what is decomposed.
    """

    structure: ClassVar[str]

    def __init__(self, operator: Operator) -> None:
        self.operator = operator

    @classmethod
    @abstractmethod
    def refusal(cls, operator: Operator) -> str | None:
        """Why an operator cannot be written so, as the end of a sentence; None where it can."""

    @property
    @abstractmethod
    def full(self) -> Ranks:
        """The least ranks that lose nothing."""

    @abstractmethod
    def ranks_for(self, parameters: int, round_to: int = 1) -> Ranks | None:
        """The best ranks whose factors have at most so many parameters; None where even the least have more.

        Args:
            parameters: of all factors together.
            round_to: ranks are multiples of it where they are that large.
        """

    @abstractmethod
    def parameters(self, ranks: Ranks) -> int:
        """Elements of the factors."""

    @abstractmethod
    def error(self, ranks: Ranks) -> float:
        """E|(W − Ŵ) x|² at a place, of exactly the factors that `factors` gives; compare with `operator.energy()`."""

    @abstractmethod
    def factors(self, ranks: Ranks) -> Factors:
        """The factors, float64."""

    @abstractmethod
    def shapes(self, ranks: Ranks) -> Factors:
        """Factors of the right shapes whose elements mean nothing (and take no memory): for counting and timing."""
