"""Where in a graph a weight is that can be factorized, and who reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.opinfo import float_attr
from netwright.passes.factorize.operator import Kind


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """A node that multiplies with a weight.

    Attributes:
        node: MatMul, Gemm, Conv, ConvTranspose, Gather, LSTM, GRU or RNN.
        index: which of its inputs the weight is.
        rows: the outputs of the site's operator that this node computes, as a range; all of them but where several weights are joined.
        kind: what the node is, which differs from the site's where a table is also the head (a table reader of a linear site reads the
            factors the other way round).
    """

    node: onnx_ir.Node
    index: int
    rows: tuple[int, int]
    kind: Kind

    @property
    def data(self) -> onnx_ir.Value | None:
        """What the weight is applied to now (indices, of a table): other rewrites may have changed it since the site was found."""
        seat = 1 - self.index if self.kind in ("linear", "table") else 0
        return self.node.inputs[seat]


@dataclass(frozen=True, slots=True, eq=False)
class FactorSite:
    """An operator of a program that can be factorized.

    Attributes:
        kind: of operator.
        weights: the initializers: one, or several whose operators see the same data and are stacked, in order.
        readers: in graph order.
        groups: of channels.
        shape: of the operator's weight, in the layout of `Operator`.
        modules: paths of the modules that the readers came from, where known.
    """

    kind: Kind
    weights: tuple[onnx_ir.Value, ...]
    readers: tuple[Reader, ...]
    groups: int
    shape: tuple[int, ...]
    modules: tuple[str, ...]

    @property
    def name(self) -> str:
        """The first weight's name, which is the site's in plans."""
        return self.weights[0].name or ""

    @property
    def names(self) -> tuple[str, ...]:
        """What patterns are held against: names of weights and modules."""
        return (*(weight.name or "" for weight in self.weights), *self.modules)

    @property
    def gains(self) -> Mapping[tuple[int, int], float] | None:
        """What readers multiply the operator's rows by (a Gemm's alpha); None where two differ in that about the same rows."""
        found: dict[tuple[int, int], float] = {}
        for reader in self.readers:
            gain = float_attr(reader.node, "alpha", 1.0) if reader.kind == "linear" else 1.0
            if found.setdefault(reader.rows, gain) != gain:
                return None
        return found

    @property
    def parameters(self) -> int:
        """Elements of all weights."""
        return int(np.prod(self.shape))
