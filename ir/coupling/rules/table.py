"""The table of rules by operator, and what rules share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import onnx_ir

from netwright.ir.coupling.axes import DYNAMIC, ONE, Axis, Fixed
from netwright.ir.dims import Dim
from netwright.ir.opinfo import site
from netwright.ir.shape_context import contents

if TYPE_CHECKING:
    from netwright.ir.coupling.walk import Walk

Rule: TypeAlias = "Callable[[Walk, onnx_ir.Node], None]"


class NoRule(Exception):
    """What a rule says of a node that it does not understand; the end of a sentence."""


RULES: dict[tuple[str, str], Rule] = {}
"""By domain and operator."""


def rule(*operators: str, domain: str = "") -> Callable[[Rule], Rule]:
    """Register a rule for operators of one domain."""

    def register(found: Rule) -> Rule:
        for operator in operators:
            RULES[domain, operator] = found
        return found

    return register


def rule_for(node: onnx_ir.Node) -> Rule | None:
    """The rule for a node's operator, or None."""
    return RULES.get(("" if node.domain == "ai.onnx" else node.domain, node.op_type))


def inputs_of(walk: Walk, node: onnx_ir.Node) -> list[tuple[Axis, ...] | None]:
    """The axes of each input; None for one that is left out."""
    return [None if value is None else walk.axes(value, node) for value in node.inputs]


def given(node: onnx_ir.Node, index: int) -> onnx_ir.Value | None:
    """An input by number, or None where it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def needed(node: onnx_ir.Node, index: int = 0) -> onnx_ir.Value:
    """An input by number.

    Raises:
        NoRule: it is left out.
    """
    found = given(node, index)
    if found is None:
        raise NoRule("an input is left out")
    return found


def where(node: onnx_ir.Node) -> str:
    """The node, as reasons name it."""
    return f"{node.op_type} at %{site(node)}"


def resting(dim: Dim) -> Axis:
    """An axis of this size along which nothing is tracked."""
    if dim == 1:
        return ONE
    return Fixed(f"it has the fixed size {dim}") if isinstance(dim, int) else DYNAMIC


def integers(value: onnx_ir.Value | None) -> list[int] | None:
    """The elements of a small integer tensor, constant or computed from constants; None where they are not known."""
    found = contents(value)
    known = [element for element in found or () if isinstance(element, int)]
    return known if found is not None and len(known) == len(found) else None
