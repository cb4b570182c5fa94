"""Sums of products of dimensions: what a cost is before the named dimensions have values.

sympy would do, but takes milliseconds a node; these are sums of `factor · dim · dim …` that only multiply out on demand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from netwright.ir.dims import Dim, evaluate, names_in

Symbols: TypeAlias = tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number that may depend on named dimensions.

    Attributes:
        terms: factor of each product of dimensions; the empty product is the constant part.
        known: False where a part could not be counted at all.
    """

    terms: Mapping[Symbols, int]
    known: bool = True

    @classmethod
    def of(cls, *dims: Dim) -> Quantity:
        """The product of some dimensions."""
        factor = 1
        symbols: list[Dim] = []
        for dim in dims:
            if isinstance(dim, int):
                factor *= dim
            elif dim.value is None:
                return UNKNOWN
            else:
                symbols.append(dim)
        if not factor:
            return ZERO
        return cls({tuple(sorted(symbols, key=str) if len(symbols) > 1 else symbols): factor})

    @classmethod
    def sum(cls, quantities: Iterable[Quantity]) -> Quantity:
        """The sum of several."""
        quantities = tuple(quantities)
        if len(quantities) == 1:
            return quantities[0]
        terms: dict[Symbols, int] = {}
        known = True
        for quantity in quantities:
            known = known and quantity.known
            for symbols, factor in quantity.terms.items():
                terms[symbols] = terms.get(symbols, 0) + factor
        return cls(terms, known)

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity.sum((self, other))

    def __mul__(self, other: Quantity | int) -> Quantity:
        if isinstance(other, int):
            return Quantity({symbols: factor * other for symbols, factor in self.terms.items()}, self.known) if other else ZERO
        if self.terms == _ONE:
            return other
        if other.terms == _ONE:
            return self
        terms: dict[Symbols, int] = {}
        for left, a in self.terms.items():
            for right, b in other.terms.items():
                key = tuple(sorted((*left, *right), key=str))
                terms[key] = terms.get(key, 0) + a * b
        return Quantity(terms, self.known and other.known)

    def evaluate(self, bindings: Mapping[str, int]) -> int | None:
        """The number, where the named dimensions have these values; None where one has none, or a part is unknown."""
        return self.at(lambda dim: evaluate(dim, bindings))

    def at(self, value_of: Callable[[Dim], int | None]) -> int | None:
        """As `evaluate`, with a function that gives a dimension's value."""
        if not self.known:
            return None
        total = 0
        for symbols, factor in self.terms.items():
            for symbol in symbols:
                size = value_of(symbol)
                if size is None:
                    return None
                factor *= size
            total += factor
        return total

    @property
    def names(self) -> set[str]:
        """The named dimensions that it depends on."""
        return names_in(dim for symbols in self.terms for dim in symbols)

    def __str__(self) -> str:
        parts = [" · ".join([str(factor), *map(str, symbols)]) for symbols, factor in self.terms.items() if factor]
        return " + ".join([*parts, *([] if self.known else ["?"])]) or "0"


_ONE: Mapping[Symbols, int] = {(): 1}

ZERO = Quantity({})
ONE = Quantity(_ONE)
UNKNOWN = Quantity({}, known=False)
