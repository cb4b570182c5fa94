"""Local rules: a match at one node, the guards, and the rewrite; run together by the worklist driver."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import onnx_ir

from netwright.ir.program import Program
from netwright.passes.numerics import Exact, Numerics
from netwright.passes.rewrite import Miss, Rewrite

Match = Callable[[onnx_ir.Node, Program], Rewrite | Miss | None]
"""Looks at one node: a rewrite, a miss (a site that fits but for a guard, with the reason), or nothing to say."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A match function with the operators at which it looks.

    Attributes:
        name: in ledgers and reports.
        ops: root operators, `"MatMul"` or `"com.microsoft::Gelu"`; empty means every node.
        match: looks at one node.
        numerics: what it promises.
    """

    name: str
    ops: tuple[str, ...]
    match: Match
    numerics: Numerics = Exact()


def rule(*ops: str, numerics: Numerics = Exact()) -> Callable[[Match], Rule]:  # noqa: B008
    """Make a rule of a match function, named after it: `@rule("Identity")`."""

    def make(match: Match) -> Rule:
        return Rule(match.__name__, ops, match, numerics)

    return make


class RuleIndex:
    """Rules by root operator, for rejecting a node with one look-up."""

    __slots__ = ("_anywhere", "_by_op")

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._by_op: dict[tuple[str, str], tuple[Rule, ...]] = {}
        ordered = tuple(rules)
        self._anywhere = tuple(r for r in ordered if not r.ops)
        for op in dict.fromkeys(op for r in ordered for op in r.ops):
            domain, _, name = op.rpartition("::")
            self._by_op[domain, name] = tuple(r for r in ordered if not r.ops or op in r.ops)

    def at(self, node: onnx_ir.Node) -> tuple[Rule, ...]:
        """The rules that look at this node's operator, in the order given."""
        return self._by_op.get((node.domain, node.op_type), self._anywhere)
