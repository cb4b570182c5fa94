"""The rules that `merge` runs: to add one is to add a row."""

from __future__ import annotations

from collections.abc import Callable

from netwright.passes.merge.fan_out import fan_out
from netwright.passes.merge.marked import unfold
from netwright.passes.merge.multiply import multiply
from netwright.passes.merge.parallel import add_up
from netwright.passes.merge.policy import Policy
from netwright.passes.merge.recurrent import into_gates
from netwright.passes.rules import Match, Rule
from netwright.passes.simplify.match import CLOSE

_LINEAR = ("MatMul", "Gemm", "Conv", "ConvTranspose")

_RULES: tuple[tuple[Callable[[Policy], Match], tuple[str, ...]], ...] = (
    (unfold, ()),
    (multiply, _LINEAR),
    (fan_out, (*_LINEAR, "Gather")),
    (into_gates, ("LSTM", "GRU", "RNN")),
    (add_up, ("Add",)),
)
"""Each with the operators at which it looks, in the order in which they are tried."""


def rules(policy: Policy) -> tuple[Rule, ...]:
    """All rules, under a policy."""
    return tuple(Rule(make.__name__, ops, make(policy), CLOSE) for make, ops in _RULES)
