"""Several nodes computed by one call: what torch has a fused kernel for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir

    from netwright.backends.torch.settings import Fused
    from netwright.ir.program import Program


@dataclass(frozen=True, slots=True)
class Fusions:
    """What was found in a program.

    Attributes:
        calls: by the node that ends a pattern.
        inside: the other nodes of the patterns, which need not be computed.
    """

    calls: dict[onnx_ir.Node, Fused] = field(default_factory=dict["onnx_ir.Node", "Fused"])
    inside: frozenset[onnx_ir.Node] = frozenset()


def fusions(program: Program, keep: frozenset[str]) -> Fusions:
    """Attention and linear layers, spelled out in the graph.

    Args:
        program: its functions inlined.
        keep: names of values that are asked for, and so must be computed.
    """
    return Fusions()
