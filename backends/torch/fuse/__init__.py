"""Several nodes computed by one call: what torch has a fused kernel for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import onnx_ir

from netwright.backends.torch.fuse.attention import AttentionMatch, find_attention
from netwright.backends.torch.fuse.fake_quantize import find_quantized
from netwright.backends.torch.fuse.linear import LinearMatch, find_linear
from netwright.backends.torch.ops.fused import fused_attention, fused_linear
from netwright.backends.torch.settings import Fused
from netwright.ir.program import Program


@dataclass(frozen=True, slots=True)
class Fusions:
    """What was found in a program.

    Attributes:
        calls: by the node that ends a pattern.
        inside: the other nodes of the patterns, which need not be computed.
    """

    calls: dict[onnx_ir.Node, Fused] = field(default_factory=dict[onnx_ir.Node, Fused])
    inside: frozenset[onnx_ir.Node] = frozenset()


def fusions(program: Program, keep: frozenset[str]) -> Fusions:
    """Layers between quantizers, attention and linear layers, spelled out in the graph. Linear in nodes.

    Args:
        program: its functions inlined.
        keep: names of values that are asked for, and so must be computed.
    """
    calls: dict[onnx_ir.Node, Fused] = {}
    taken: set[onnx_ir.Node] = set()
    for match in find_quantized(program, keep):
        taken.update(match.nodes)
        calls[match.root] = Fused(match.function, match.inputs, match.keywords, carries=True)
    for match, function, training in _matches(program, keep):
        if not taken.isdisjoint(match.nodes):
            continue
        taken.update(match.nodes)
        calls[match.root] = Fused(function, match.inputs, match.keywords, training)
    return Fusions(calls, frozenset(taken - calls.keys()))


def _matches(program: Program, keep: frozenset[str]) -> Iterable[tuple[AttentionMatch | LinearMatch, Callable[..., object], bool]]:
    """Attention first: what a linear layer would take of it, it keeps."""
    yield from ((match, fused_attention, match.dropout > 0) for match in find_attention(program, keep))
    yield from ((match, fused_linear, False) for match in find_linear(program, keep))
