"""Which kernels a runtime makes of a program: what passes that write integers must know to see that they run as integers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from netwright.ir.program import Program


@dataclass(frozen=True, slots=True)
class Kernel:
    """One node of the graph that a runtime made of a program.

    Attributes:
        op_type: the operator's name there, such as `QLinearConv` or `FusedMatMul`.
        outputs: names of what it makes; those that the program knew keep their names.
        weighs: multiplies and sums: a product, a convolution, a recurrent layer.
        is_integer: does so with integers.
    """

    op_type: str
    outputs: tuple[str, ...]
    weighs: bool = False
    is_integer: bool = False


@dataclass(frozen=True, slots=True)
class KernelReport:
    """The kernels of a program.

    Attributes:
        kernels: in the order of the runtime's graph, those of subgraphs after.
    """

    kernels: tuple[Kernel, ...]

    @property
    def integer(self) -> dict[str, int]:
        """How many kernels of each operator compute with integers."""
        return _counted(kernel for kernel in self.kernels if kernel.is_integer)

    @property
    def floating(self) -> dict[str, int]:
        """How many kernels of each operator multiply and sum in float."""
        return _counted(kernel for kernel in self.kernels if kernel.weighs and not kernel.is_integer)

    @property
    def conversions(self) -> dict[str, int]:
        """How many kernels only turn floats into integers or back."""
        return _counted(kernel for kernel in self.kernels if kernel.op_type in _CONVERSIONS)

    @property
    def float_values(self) -> frozenset[str]:
        """Names of the values made by kernels that multiply and sum in float."""
        return frozenset(name for kernel in self.kernels if kernel.weighs and not kernel.is_integer for name in kernel.outputs)

    def __str__(self) -> str:
        """Such as `52 integer kernels (51 QLinearConv, 1 QGemm), 1 in float (1 MatMul)`."""
        return f"{_shown(self.integer, 'integer kernels')}, {_shown(self.floating, 'in float')}"


class Kernels(Protocol):
    """Tells what a runtime makes of a program."""

    def of(self, program: Program) -> KernelReport:
        """The kernels that would run; nothing is run."""
        ...


_CONVERSIONS = frozenset({"DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"})


def _counted(kernels: Iterable[Kernel]) -> dict[str, int]:
    return dict(Counter(kernel.op_type for kernel in kernels))


def _shown(counts: dict[str, int], what: str) -> str:
    parts = ", ".join(f"{count} {name}" for name, count in counts.items())
    return f"{sum(counts.values())} {what}" + (f" ({parts})" if parts else "")
