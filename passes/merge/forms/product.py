"""Products with a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from netwright.ir.maps import Merge, ValueMap
from netwright.passes.merge.forms.base import Form


@dataclass(frozen=True, slots=True)
class Product(Form):
    """y = M x at every place, M: [outputs, inputs].

    Attributes:
        rows, columns: of M.
        left: whether channels lie along the last axis but one (`MatMul(W, x)`) rather than the last.
        turned: whether the data are transposed first (Gemm's transA).
    """

    rows: int
    columns: int
    left: bool = False
    turned: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """[outputs, inputs]."""
        return (self.rows, self.columns)

    @property
    def outputs(self) -> int:
        """Rows."""
        return self.rows

    @property
    def channel_axis(self) -> int:
        """The last, or the one before."""
        return -2 if self.left else -1

    @property
    def spreads(self) -> str:
        """Empty: all places see the same matrix."""
        return ""

    def places(self, before: float, after: float) -> float:
        """As many as there are."""
        return after

    def growth(self) -> float:
        """None are added."""
        return 1.0

    def then(self, other: Form) -> Form | str:
        """The product of the two matrices."""
        if not isinstance(other, Product):
            return "a product and a convolution lay their channels out differently"
        if self.left != other.left:
            return "one multiplies from the left and one from the right"
        if other.turned:
            return "the second one transposes what it reads (transA)"
        if self.rows != other.columns:
            return f"the first gives {self.rows} channels, the second takes {other.columns}"
        return Product(other.rows, self.columns, self.left, self.turned)

    def product(self, numbers: np.ndarray, other: Form, others: np.ndarray) -> np.ndarray:
        """M₂ M₁."""
        return others @ numbers

    def push(self, bias: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """M b."""
        return numbers @ bias

    def product_map(self, other: Form) -> ValueMap | None:
        """A product."""
        return Merge()

    def describe(self) -> str:
        """Inputs first, as the arithmetic of low rank is written."""
        return f"{self.columns}×{self.rows}"


def as_product(form: Form) -> Product:
    """The same, for the type checker."""
    return cast("Product", form)
