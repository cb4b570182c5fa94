"""The rules that `merge` runs: to add one is to add a row."""

from __future__ import annotations

from collections.abc import Callable

from netwright.passes.merge.multiply import multiply
from netwright.passes.merge.policy import Policy
from netwright.passes.rules import Match, Rule
from netwright.passes.simplify.match import CLOSE

_LINEAR = ("MatMul", "Gemm", "Conv", "ConvTranspose")

_RULES: tuple[tuple[Callable[[Policy], Match], tuple[str, ...]], ...] = ((multiply, _LINEAR),)
"""Each with the operators at which it looks, in the order in which they are tried."""


def rules(policy: Policy) -> tuple[Rule, ...]:
    """All rules, under a policy."""
    return tuple(Rule(make.__name__, ops, make(policy), CLOSE) for make, ops in _RULES)
