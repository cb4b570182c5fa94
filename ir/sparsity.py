"""How many numbers of each weight are exactly zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from netwright.ir.opinfo import is_float
from netwright.ir.program import Program


@dataclass(frozen=True, slots=True)
class WeightZeros:
    """The zeros of one weight.

    Attributes:
        name: of the initializer.
        shape: its shape.
        size: how many numbers it has.
        zeros: how many of them are zero.
    """

    name: str
    shape: tuple[int, ...]
    size: int
    zeros: int

    @property
    def share(self) -> float:
        """Zeros to all numbers, from 0 to 1."""
        return self.zeros / self.size if self.size else 0.0

    def to_dict(self) -> dict[str, object]:
        """As JSON."""
        return {**asdict(self), "shape": list(self.shape), "share": self.share}


def zeros_by_weight(program: Program) -> tuple[WeightZeros, ...]:
    """The zeros of every float initializer with more than one number, in graph order. Reads all of them."""
    found: list[WeightZeros] = []
    for value in program.initializers():
        tensor = value.const_value
        if tensor is None or not is_float(tensor.dtype) or tensor.size < 2:
            continue
        shape = tuple(int(size) for size in tensor.shape.numpy())
        found.append(WeightZeros(value.name or "", shape, tensor.size, tensor.size - int(np.count_nonzero(tensor.numpy()))))
    return tuple(found)


def share_of_zeros(weights: Sequence[WeightZeros]) -> float:
    """Zeros to all numbers of all weights together, from 0 to 1."""
    size = sum(weight.size for weight in weights)
    return sum(weight.zeros for weight in weights) / size if size else 0.0
