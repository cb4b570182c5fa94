"""The worklist driver: fixpoint, misses that stand, rules that chase each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir
import pytest

from netwright.ir import Program
from netwright.passes import Context, Miss, Rewrite, run
from netwright.passes.driver import RuleLoopError
from netwright.passes.pattern import PatternPass
from netwright.passes.rewrite import site_of
from netwright.passes.rules import Rule, RuleIndex, rule
from tests.passes.toy import ops, program_of


@rule("Neg")
def cancel_neg(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    inner = node.inputs[0].producer() if node.inputs[0] is not None else None
    if inner is None or inner.op_type != "Neg" or inner.inputs[0] is None:
        return Miss("no Neg before it", site_of(node))
    return Rewrite.replace(node.outputs[0], by=inner.inputs[0], why="two negations cancel")


def swap(old: str, new: str) -> Rule:
    def match(node: onnx_ir.Node, program: Program) -> Rewrite:
        return Rewrite.build(node, lambda editor: editor.op(new, list(node.inputs)), why="swap")

    return Rule(f"{old}_to_{new}".lower(), (old,), match)


@dataclass(frozen=True, kw_only=True)
class Cancel(PatternPass):
    """Cancels pairs of Neg."""

    name: ClassVar[str] = "cancel"

    def rules(self, program: Program) -> tuple[Rule, ...]:
        return (cancel_neg,)


@dataclass(frozen=True, kw_only=True)
class Chase(PatternPass):
    """Never ends."""

    name: ClassVar[str] = "chase"

    def rules(self, program: Program) -> tuple[Rule, ...]:
        return (swap("Neg", "Relu"), swap("Relu", "Neg"))


def test_rules_run_to_a_fixpoint_and_only_standing_misses_are_reported() -> None:
    outcome = run(program_of(), [Cancel()], Context())
    assert ops(outcome.program) == ["Neg", "Abs"]
    (standing,) = outcome.rows[0].misses
    assert (standing.reason, standing.rule) == ("no Neg before it", "cancel_neg")
    assert standing.site == next(outcome.program.nodes("Neg")).outputs[0].name


def test_a_second_run_changes_nothing() -> None:
    once = run(program_of(), [Cancel()], Context())
    assert run(once.program, [Cancel()], Context()).rows[0].actions == 0


def test_rules_that_chase_each_other_are_named() -> None:
    with pytest.raises(RuleLoopError, match=r"neg_to_relu, relu_to_neg|relu_to_neg, neg_to_relu"):
        run(program_of(), [Chase()], Context())


def test_the_index_rejects_by_operator_and_domain() -> None:
    index = RuleIndex([swap("Neg", "Relu"), swap("com.microsoft::Gelu", "Relu")])
    plain = onnx_ir.Node("", "Gelu", [])
    contrib = onnx_ir.Node("com.microsoft", "Gelu", [])
    assert index.at(plain) == ()
    assert [found.name for found in index.at(contrib)] == ["com.microsoft::gelu_to_relu"]
