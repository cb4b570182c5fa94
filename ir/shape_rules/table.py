"""The table of netwright's shape rules by operator and version, ahead of the package's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import onnx_ir
from onnx_shape_inference import registry

from netwright.ir.operators import operator_of
from netwright.ir.shape_context import Context

Rule: TypeAlias = Callable[[Context, onnx_ir.Node], None]


_RULES: dict[tuple[str, str], list[tuple[int, Rule]]] = {}


def register(domain: str, *op_types: str, since_version: int = 1) -> Callable[[Rule], Rule]:
    """Make a function the shape rule of operators, ahead of the package's own.

    Args:
        domain: the operators' domain; empty for the standard one.
        op_types: their names.
        since_version: the first version of the domain that the rule is for.
    """

    def add_rule(rule: Rule) -> Rule:
        for op_type in op_types:
            rules = _RULES.setdefault((domain, op_type), [])
            rules.append((since_version, rule))
            rules.sort(key=lambda entry: -entry[0])
        return rule

    return add_rule


def rule_for(domain: str, op_type: str, version: int) -> Rule | None:
    """The shape rule of an operator at a version of its domain: netwright's own, else the package's, else None."""
    for since, rule in _RULES.get((domain, op_type), ()):
        if version >= since:
            return rule
    own = operator_of(domain, op_type)
    if own is not None:
        return own.infer
    registry.collect()
    return registry.get(domain, op_type, version)


def has_rule(domain: str, op_type: str) -> bool:
    """True where any version of an operator has a shape rule."""
    registry.collect()
    return (domain, op_type) in _RULES or registry.has(domain, op_type)
