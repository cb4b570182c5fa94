"""Neutral elements: x + 0, x · 1, x and true, a choice whose condition is known."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.editor import can_replace
from netwright.ir.opinfo import is_float
from netwright.ir.program import Program
from netwright.ir.shapes import same_shape
from netwright.passes.numerics import Close
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import rule
from netwright.passes.simplify.facts import same_kind, uniform

_NEUTRAL: dict[str, tuple[float | bool, bool]] = {
    "Add": (0, True),
    "Sub": (0, False),
    "Mul": (1, True),
    "Div": (1, False),
    "Pow": (1, False),
    "And": (True, True),
    "Or": (False, True),
    "Xor": (False, True),
    "BitwiseOr": (0, True),
    "BitwiseXor": (0, True),
    "BitShift": (0, False),
}
"""Operators of two inputs: the element that changes nothing on the right, and whether on the left as well."""


@rule(*_NEUTRAL, numerics=Close(rtol=0.0, atol=0.0))
def drop_neutral(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """An operand that changes nothing; −0 + 0 becomes −0, all else stays bit for bit."""
    element, both_sides = _NEUTRAL[node.op_type]
    a, b = node.inputs[:2]
    if a is None or b is None:
        return None
    kept = a if _is(b, element) else b if both_sides and _is(a, element) else None
    if kept is None:
        return None
    out = node.outputs[0]
    if not same_kind(out, kept):
        return None
    if not can_replace(out, kept):
        return Miss(f"a graph output that would be {_called(kept)} itself", site_of(node))
    return Rewrite.replace(
        out, by=kept, why=f"{node.op_type} with {element:g}" if not isinstance(element, bool) else f"{node.op_type} with {element}".lower()
    )


def _is(value: onnx_ir.Value, element: float | bool) -> bool:
    found = uniform(value)
    return found is not None and bool(found == element)


def _called(value: onnx_ir.Value) -> str:
    return f"input %{value.name}" if value.producer() is None else f"%{value.name}, another output"


@rule("And", "Or")
def absorb(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """`x and false` and `x or true` are constants where the constant has the shape of the result; `x and x` is x."""
    a, b = node.inputs[:2]
    if a is None or b is None:
        return None
    out = node.outputs[0]
    if a is b:
        return Rewrite.replace(out, by=a, why=f"{node.op_type} of a value with itself") if can_replace(out, a) else None
    absorbing = node.op_type == "Or"
    for value in (a, b):
        if _is(value, absorbing) and same_shape(out, value) and can_replace(out, value):
            return Rewrite.replace(out, by=value, why=f"{node.op_type} with {absorbing}".lower())
    return None


@rule("Where")
def choose(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A choice whose condition is known, or whose alternatives are one value."""
    condition, x, y = node.inputs[:3]
    if condition is None or x is None or y is None:
        return None
    out = node.outputs[0]
    known = uniform(condition)
    chosen = x if x is y else None if known is None else x if known else y
    if chosen is None or not same_kind(out, chosen) or not can_replace(out, chosen):
        return None
    return Rewrite.replace(out, by=chosen, why="alternatives are one value" if x is y else f"condition is {bool(known)}".lower())


@rule("Where")
def swap_negated(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A choice by a negated condition: swap the alternatives."""
    condition, x, y = node.inputs[:3]
    negation = condition.producer() if condition is not None else None
    if negation is None or negation.op_type != "Not" or negation.domain:
        return None
    out = node.outputs[0]
    return Rewrite.build(node, lambda editor: editor.op("Where", [negation.inputs[0], y, x], like=out), why="condition is negated")


_EXTREMES = {"Max": -np.inf, "Min": np.inf}


@rule("Max", "Min")
def drop_extreme(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Max with −∞, Min with +∞, and a value named twice."""
    if len(node.inputs) != 2:
        return None
    a, b = node.inputs
    if a is None or b is None:
        return None
    out = node.outputs[0]
    for kept, other in ((a, b), (b, a)):
        found = uniform(other) if kept is not other and is_float(kept.dtype) else None
        idle = kept is other or (found is not None and float(found) == _EXTREMES[node.op_type])
        if idle and same_kind(out, kept) and can_replace(out, kept):
            return Rewrite.replace(
                out, by=kept, why=f"{node.op_type} with its own bound" if kept is not other else f"{node.op_type} of a value with itself"
            )
    return None


RULES = (drop_neutral, absorb, choose, swap_negated, drop_extreme)
