"""Rows of a table, looked up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netwright.ir.maps import Merge, ValueMap
from netwright.passes.merge.forms.base import Form
from netwright.passes.merge.forms.product import Product


@dataclass(frozen=True, slots=True)
class Lookup(Form):
    """y = M e(index), e one-hot, M: [features, entries]: the transpose of the stored table. Looking up multiplies nothing.

    Attributes:
        rows, columns: of M.
    """

    rows: int
    columns: int

    @property
    def shape(self) -> tuple[int, ...]:
        """[features, entries]."""
        return (self.rows, self.columns)

    @property
    def outputs(self) -> int:
        """Features."""
        return self.rows

    @property
    def channel_axis(self) -> int:
        """Features come last."""
        return -1

    @property
    def spreads(self) -> str:
        """Nothing comes before indices."""
        return "indices have no bias"

    def places(self, before: float, after: float) -> float:
        """None is multiplied."""
        return 0.0

    def growth(self) -> float:
        """A row for each index."""
        return 1.0

    def then(self, other: Form) -> Form | str:
        """A table of products."""
        if not isinstance(other, Product) or other.left or other.turned:
            return "only a product with the last axis goes into a table"
        if self.rows != other.columns:
            return f"the table gives {self.rows} features, the product takes {other.columns}"
        return Lookup(other.rows, self.columns)

    def product(self, numbers: np.ndarray, other: Form, others: np.ndarray) -> np.ndarray:
        """Each entry's product."""
        return others @ numbers

    def push(self, bias: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Never asked for: `spreads` says why."""
        return numbers @ bias

    def product_map(self, other: Form) -> ValueMap | None:
        """A product."""
        return Merge()

    def describe(self) -> str:
        """Entries first."""
        return f"{self.columns}×{self.rows}"
