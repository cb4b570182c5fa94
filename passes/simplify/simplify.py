"""`simplify`: the same function with fewer nodes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir

from netwright.ir import shapes
from netwright.ir.errors import NetwrightError
from netwright.ir.program import Program
from netwright.passes.base import Proposals, RewritePass
from netwright.passes.context import Context
from netwright.passes.driver import drive
from netwright.passes.numerics import Close, Numerics
from netwright.passes.rules import RuleIndex
from netwright.passes.simplify.dead import remove_dead
from netwright.passes.simplify.inline import inline_calls
from netwright.passes.simplify.raise_opset import check_opset, raise_opset
from netwright.passes.simplify.share import share
from netwright.passes.simplify.table import LOCAL_RULES

ROUNDS = 20
"""Rounds of local rules and sharing after which something is taken to be wrong; two or three are usual."""


@dataclass(frozen=True, kw_only=True)
class Simplify(RewritePass):
    """Remove, fold, merge and fuse nodes without changing what the program computes."""

    name: ClassVar[str] = "simplify"
    numerics: ClassVar[Numerics] = Close()
    fixpoint: ClassVar[bool] = True

    opset: int | None = None
    """Raise the model to this opset first (23 has Attention, RMSNormalization, RotaryEmbedding); it keeps its own where not given."""

    def __post_init__(self) -> None:
        """Refuse an opset that does not exist.

        Raises:
            PipelineError: it does not.
        """
        check_opset(self.opset)

    def rewrites(self, program: Program, context: Context) -> Proposals:
        """Dead code and calls first, then local rules and common subexpressions in turn, to a fixpoint."""
        index = RuleIndex(LOCAL_RULES)
        yield from remove_dead(program)
        yield from inline_calls(program)
        if self.opset is not None:
            yield from raise_opset(program, self.opset)
        if not shapes.is_inferred(program):
            shapes.infer(program)
        yield from share(program)
        version = program.version
        seeds: Iterable[onnx_ir.Node] | None = None
        for _ in range(ROUNDS):
            touched = yield from drive(program, index, seeds)
            seeds = (yield from share(program)) if touched else ()
            if not seeds:
                break
        else:
            raise NetwrightError(f"simplify has not come to rest after {ROUNDS} rounds.", place=program.name, remedy="Report this model.")
        if program.version != version:
            yield from remove_dead(program)
