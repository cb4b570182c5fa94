"""The base of all forms."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from netwright.ir.maps import ValueMap


class Form(ABC):
    """Shape and geometry of a linear operator; its numbers are given to each method, float64, in the layout that `shape` has."""

    __slots__ = ()

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of the weight."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Channels that come out."""

    @property
    @abstractmethod
    def channel_axis(self) -> int:
        """The axis of the output along which channels lie."""

    @property
    @abstractmethod
    def spreads(self) -> str:
        """Why one number per channel at its input is not one number per channel at its output; empty where it is."""

    @property
    def size(self) -> int:
        """Elements of the weight."""
        return math.prod(self.shape)

    @abstractmethod
    def places(self, before: float, after: float) -> float:
        """At how many places the weight is applied, given how many its input and its output have."""

    @abstractmethod
    def growth(self) -> float:
        """How many places of the output there are for each of the input, borders left out."""

    @abstractmethod
    def then(self, other: Form) -> Form | str:
        """The form of this operator followed by another; or why there is none, as the end of a sentence."""

    @abstractmethod
    def product(self, numbers: np.ndarray, other: Form, others: np.ndarray) -> np.ndarray:
        """The numbers of this operator followed by another, for which `then` gave a form."""

    @abstractmethod
    def push(self, bias: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """What this operator makes of one number per input channel, [outputs]; only where `spreads` is empty."""

    @abstractmethod
    def product_map(self, other: Form) -> ValueMap | None:
        """The map of (others, numbers) that `product` is; None where no map says it."""

    def describe(self) -> str:
        """The weight's sizes: `384×48`."""
        return "×".join(map(str, self.shape))


def sizes(forms: Sequence[Form]) -> str:
    """Several weights' sizes, as a phrase: `384×48 and 48×384`."""
    shown = [form.describe() for form in forms]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
