"""The pass `fold`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netwright.ir import shapes
from netwright.ir.errors import NetwrightError
from netwright.ir.program import Program
from netwright.passes.base import Proposals, RewritePass
from netwright.passes.context import Context
from netwright.passes.driver import drive
from netwright.passes.numerics import Lossy, Numerics
from netwright.passes.quantize.folding.constants import CONSTANT_RULES
from netwright.passes.quantize.folding.guards import GUARDS
from netwright.passes.quantize.folding.means import MEAN_RULES
from netwright.passes.quantize.folding.moving import MOVING_RULES
from netwright.passes.quantize.folding.pairs import PAIR_RULES
from netwright.passes.quantize.folding.unused import unused_pair
from netwright.passes.quantize.static.running import left_float
from netwright.passes.rules import RuleIndex

ROUNDS = 20
"""Rounds after which something is taken to be wrong; one or two are usual."""


@dataclass(frozen=True, kw_only=True)
class Fold(RewritePass):
    """Make a quantized graph's integers meet: QuantizeLinear and DequantizeLinear are moved, merged and removed.

    DequantizeLinear goes behind what only moves integers (Reshape, Transpose, MaxPool, Slice, Concat of one grid, …), QuantizeLinear
    before it; where the two meet on one grid both go, on two they become one. A Relu or Clip that a grid's ends do anyway goes, another
    behind an integer kernel cuts integers off. Weights behind QuantizeLinear (as trained) become integers, biases of integer kernels int32.
    Pairs that no integer kernel uses go. Layers left float are kept so (`guards.py`). What the target runs float all the same is a miss.
    """

    name: ClassVar[str] = "fold"
    numerics: ClassVar[Numerics] = Lossy("relative output error")
    breaks: ClassVar[frozenset[str]] = frozenset({"Trainable"})
    fixpoint: ClassVar[bool] = True

    def rewrites(self, program: Program, context: Context) -> Proposals:
        """Constants, moves and merges to a fixpoint, then pairs without use, in turn; then what the target's kernels are."""
        if next(program.nodes("QuantizeLinear", "DequantizeLinear"), None) is None:
            return
        yield from self.folding(program)
        if context.kernels is not None:
            yield from left_float(program, context.kernels.of(program))

    def folding(self, program: Program) -> Proposals:
        """The rewrites alone."""
        if not shapes.is_inferred(program):
            shapes.infer(program)
        local, last = RuleIndex((*CONSTANT_RULES, *MOVING_RULES, *MEAN_RULES, *PAIR_RULES)), RuleIndex((unused_pair,))
        for _ in range(ROUNDS):
            touched = yield from drive(program, local)
            removed = yield from drive(program, last)
            if not touched and not removed:
                yield from drive(program, RuleIndex(GUARDS))
                return
        raise NetwrightError(f"fold has not come to rest after {ROUNDS} rounds.", place=program.name, remedy="Report this model.")
