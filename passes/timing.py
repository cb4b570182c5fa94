"""Measuring one place of a program before and after a change, each as a small program of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.program import Program, constant
from netwright.passes.context import Timer
from netwright.passes.rewrite import Rewrite
from netwright.passes.rules import Match

Change = Callable[[Program, onnx_ir.Node], None]
"""Changes a program at a node."""

_ROUNDS = 3
"""How often both are measured in turn; the best counts."""


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds for one run."""

    before: float
    after: float


def times_of(
    program: Program, given: Sequence[onnx_ir.Value], results: Sequence[onnx_ir.Value], change: Change, timer: Timer | None
) -> Times | str:
    """Measure the nodes between some values and results, as they are and changed; or say why that cannot be done."""
    if timer is None:
        return "there is no timer"
    root = results[0].producer()
    if root is None or root.graph is not program.graph:
        return "only what stands in the main graph is timed"
    if any(value.dtype is None or value.shape is None for value in given):
        return f"the shape of %{given[0].name} is not known, and nothing can be timed without"
    name = results[0].name or ""
    before, after = cut(program, given, results), cut(program, given, results)
    node = after.value(name).producer()
    assert node is not None, "cut out with its producer"
    change(after, node)
    pairs = [(timer.time(before), timer.time(after)) for _ in range(_ROUNDS)]
    return Times(min(one for one, _ in pairs), min(one for _, one in pairs))


def cut(program: Program, given: Sequence[onnx_ir.Value], results: Sequence[onnx_ir.Value]) -> Program:
    """A program of the nodes between some values and results; tensors are shared. Linear in the graph."""
    needed: set[onnx_ir.Node] = set()
    constants: dict[onnx_ir.Value, None] = {}
    stack = list(results)
    while stack:
        value = stack.pop()
        node = value.producer()
        if value in given:
            continue
        if node is None:
            if constant(value) is not None:
                constants[value] = None
        elif node not in needed:
            needed.add(node)
            stack.extend(one for one in node.inputs if one is not None)
    view = onnx_ir.GraphView(
        list(given),
        list(results),
        nodes=[node for node in program.graph if node in needed],
        initializers=list(constants),
        opset_imports=program.graph.opset_imports,
        name="site",
    )
    return Program(onnx_ir.Model(view.clone(), ir_version=program.model.ir_version))


def change_by(match: Match, at: str = "") -> Change:
    """The change that a rule proposes.

    Args:
        match: the rule.
        at: name of the first output of the node at which it looks; of the node that gives the result where not given.
    """

    def change(program: Program, node: onnx_ir.Node) -> None:
        looked_at = program.value(at).producer() if at else node
        found = None if looked_at is None else match(looked_at, program)
        assert isinstance(found, Rewrite), "the rule matched in the whole program"
        with Editor(program, at=found.anchor) as editor:
            found.change(editor)

    return change
