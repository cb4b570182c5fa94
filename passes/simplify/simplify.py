"""`simplify`: the same function with fewer nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netwright.ir.program import Program
from netwright.passes.base import Proposals, RewritePass
from netwright.passes.context import Context
from netwright.passes.driver import drive
from netwright.passes.numerics import Close, Numerics
from netwright.passes.rules import RuleIndex
from netwright.passes.simplify.table import LOCAL_RULES


@dataclass(frozen=True, kw_only=True)
class Simplify(RewritePass):
    """Remove, fold, merge and fuse nodes without changing what the program computes."""

    name: ClassVar[str] = "simplify"
    numerics: ClassVar[Numerics] = Close()
    fixpoint: ClassVar[bool] = True

    def rewrites(self, program: Program, context: Context) -> Proposals:
        """Local rules to a fixpoint."""
        yield from drive(program, RuleIndex(LOCAL_RULES))
