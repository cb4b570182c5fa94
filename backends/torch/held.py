"""In what form a value of the graph is at hand while it is lowered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import onnx_ir
    from torch import fx

Number: TypeAlias = "bool | int | float"
Literal: TypeAlias = "Number | list[Number]"
"""A Python number for a tensor of rank 0, a list of them for one of rank 1."""


@dataclass(frozen=True, slots=True)
class InTensor:
    """A tensor (or a list of tensors, for a sequence).

    Attributes:
        node: what computes it.
    """

    node: fx.Node


@dataclass(frozen=True, slots=True)
class OnHost:
    """Python numbers, from the sizes of tensors: they never enter the tensor path.

    Attributes:
        value: the numbers, or the fx node that computes them.
        dtype: the element type that ONNX gives them.
    """

    value: Literal | fx.Node
    dtype: onnx_ir.DataType

    @property
    def is_literal(self) -> bool:
        """True when the numbers are known at lowering."""
        return isinstance(self.value, bool | int | float | list)


@dataclass(frozen=True, slots=True)
class Carried:
    """Integers of a quantized program carried in a tensor of floats, so that gradients pass.

    Attributes:
        node: what computes them.
        dtype: the integer type that they stand for.
    """

    node: fx.Node
    dtype: onnx_ir.DataType


Held: TypeAlias = InTensor | OnHost | Carried
