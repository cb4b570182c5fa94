"""The pass `merge`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from netwright.ir import shapes
from netwright.ir.errors import PipelineError
from netwright.ir.program import Program
from netwright.passes.base import Proposals, RewritePass
from netwright.passes.context import Context
from netwright.passes.driver import drive
from netwright.passes.merge.policy import Policy, When
from netwright.passes.merge.table import rules
from netwright.passes.numerics import Close, Numerics
from netwright.passes.rules import RuleIndex

_WHEN = ("smaller", "always", "faster")


@dataclass(frozen=True, kw_only=True)
class Merge(RewritePass):
    """Multiply factors back into one operator: after training with more factors than needed, of adapters, of what no longer pays.

    Linear operators with constant weights that follow each other with nothing but constant factors and biases between become one:
    products, convolutions, look-ups followed by products, products in front of LSTM, GRU and RNN; so do parallel ones whose results are
    added, such as a layer and its low-rank adapter, and chains of Reshape, Transpose and MatMul that `factorize` marked as one operator.
    Every chain that stays is listed with its numbers.
    """

    name: ClassVar[str] = "merge"
    numerics: ClassVar[Numerics] = Close()
    fixpoint: ClassVar[bool] = True

    when: When = "smaller"
    """`smaller`: where the product has no more parameters than the factors and takes no more multiply-accumulates; `always`; `faster`:
    where the place measures faster."""
    exclude: str | Sequence[str] = ()
    """Patterns (`*`, `?`) of weights or modules whose factors stay."""

    def __post_init__(self) -> None:
        """Refuse an unknown `when`.

        Raises:
            PipelineError: it is.
        """
        object.__setattr__(self, "exclude", (self.exclude,) if isinstance(self.exclude, str) else tuple(self.exclude))
        if self.when not in _WHEN:
            raise PipelineError(f"when={self.when!r} is not known.", place=self.name, remedy=f"One of {', '.join(_WHEN)}.")

    def needs(self) -> frozenset[str]:
        """A timer, to measure what is faster."""
        return frozenset({"timer"}) if self.when == "faster" else frozenset()

    def rewrites(self, program: Program, context: Context) -> Proposals:
        """Drive the rules to a fixpoint."""
        if not shapes.is_inferred(program):
            shapes.infer(program)
        policy = Policy(self.when, tuple(self.exclude), context.timer if self.when == "faster" else None)
        yield from drive(program, RuleIndex(rules(policy)))
