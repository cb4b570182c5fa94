"""How many numbers of each weight are exactly zero, and what that saves when the model is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from netwright.ir.opinfo import is_float
from netwright.ir.program import Program
from netwright.ir.storage import saved_bytes


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


@dataclass(frozen=True, slots=True)
class Transport:
    """What sending a model takes.

    Attributes:
        bytes: of its file with `sparse=True`.
        dense_bytes: of its file as it is otherwise.
        weights: the zeros of each weight.
    """

    bytes: int
    dense_bytes: int
    weights: tuple[WeightZeros, ...]

    @property
    def share(self) -> float:
        """Zeros to all numbers, from 0 to 1."""
        return share_of_zeros(self.weights)

    def to_dict(self) -> dict[str, object]:
        """As JSON."""
        return {
            "bytes": self.bytes,
            "dense_bytes": self.dense_bytes,
            "zeros": self.share,
            "weights": [weight.to_dict() for weight in self.weights],
        }

    def __str__(self) -> str:
        return f"{self.bytes:,} bytes to send, {self.dense_bytes:,} with dense weights; {self.share:.1%} of the numbers are zero"


def transport(program: Program) -> Transport:
    """What sending a program takes, in compact form and without. Reads all weights; nothing is written."""
    model = program.model
    return Transport(saved_bytes(model, sparse=True), saved_bytes(model), zeros_by_weight(program))


def share_of_zeros(weights: Sequence[WeightZeros]) -> float:
    """Zeros to all numbers of all weights together, from 0 to 1."""
    size = sum(weight.size for weight in weights)
    return sum(weight.zeros for weight in weights) / size if size else 0.0
