"""Passes made of local rules."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from netwright.ir.program import Program
from netwright.passes.base import Proposals, RewritePass
from netwright.passes.context import Context
from netwright.passes.driver import drive
from netwright.passes.rules import Rule, RuleIndex


@dataclass(frozen=True, kw_only=True)
class PatternPass(RewritePass):
    """A pass that runs a set of local rules together to a fixpoint."""

    @abstractmethod
    def rules(self, program: Program) -> tuple[Rule, ...]:
        """The rules for this program, in the order in which they are tried at a node."""

    def rewrites(self, program: Program, context: Context) -> Proposals:
        """Drive the rules to a fixpoint."""
        yield from drive(program, RuleIndex(self.rules(program)))
