"""One call from a graph as text to what `simplify` makes of it, with the values compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.backends.onnxruntime.executor import OrtExecutor
from netwright.ir import Program, shapes
from netwright.ir.dims import evaluate
from netwright.ir.program import array
from netwright.passes.context import Context
from netwright.passes.manager import run
from netwright.passes.rewrite import Miss
from netwright.passes.simplify import Simplify

SIZES = ((2, 3, 5, 7), (1, 4, 2, 3))
"""What the first, second … dimension name of a program stands for: two sets, one with a 1."""


@dataclass(frozen=True, slots=True)
class Simplified:
    """A program before and after."""

    before: Program
    after: Program

    @property
    def ops(self) -> list[str]:
        """Operators left, in order."""
        return [node.op_type for node in self.after.graph]

    @property
    def rules(self) -> set[str]:
        """The rules that fired."""
        return {action.rule for action in self.after.ledger.actions}

    def operand(self, node: int, place: int) -> onnx_ir.Value:
        """An input of one of the nodes left."""
        value = self.after.graph[node].inputs[place]
        assert value is not None
        return value

    def constant(self, node: int, place: int) -> np.ndarray:
        """An input of one of the nodes left, which must be a constant."""
        found = array(self.operand(node, place))
        assert found is not None
        return found

    def misses(self, rule: str) -> list[Miss]:
        """What a rule left alone."""
        return [miss for miss in self.after.ledger.misses if miss.rule == rule]


def simplify(text: str, *, properties: frozenset[str] = frozenset(), values: bool = True, opset: int = 20) -> Simplified:
    """Simplify a graph given as text and compare its values on random inputs, for two sets of sizes."""
    head = "" if text.lstrip().startswith("<") else f'<ir_version: 10, opset_import: ["" : {opset}]>\n'
    return simplified(Program(onnx_ir.from_onnx_text(head + text), properties=properties), values=values)


def simplified(program: Program, *, values: bool = True, feeds: Sequence[Mapping[str, np.ndarray]] | None = None) -> Simplified:
    """Simplify a program, check that a second run changes nothing, and compare values."""
    shapes.infer(program)
    after = run(program, (Simplify(),), Context(), verify_each=True).program
    again = run(after, (Simplify(),), Context()).program
    assert len(again.ledger.actions) == len(after.ledger.actions), [str(a) for a in again.ledger.actions[len(after.ledger.actions) :]]
    if values:
        for given in feeds or [sample(program, sizes) for sizes in SIZES]:
            assert_same(OrtExecutor().run(program, given), OrtExecutor().run(after, given))
    return Simplified(program, after)


def assert_same(expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray]) -> None:
    """The same outputs, of the same types and shapes, within what `simplify` promises."""
    assert expected.keys() == actual.keys()
    for name, reference in expected.items():
        found = actual[name]
        assert (found.dtype, found.shape) == (reference.dtype, reference.shape), name
        finite = np.abs(reference[np.isfinite(reference)]) if reference.dtype.kind == "f" else np.zeros(0)
        atol = 1e-5 + 1e-4 * float(finite.max(initial=0.0))
        np.testing.assert_allclose(found, reference, rtol=0, atol=atol if reference.dtype.kind == "f" else 0, err_msg=name)


def sample(program: Program, sizes: Sequence[int], seed: int = 0) -> dict[str, np.ndarray]:
    """Random inputs: normal floats, small integers, coin flips."""
    rng = np.random.default_rng(seed)
    names = dict.fromkeys(dim.value for value in program.inputs for dim in shapes.shape_of(value) or () if not isinstance(dim, int))
    bindings = {name: sizes[place % len(sizes)] for place, name in enumerate(names) if name is not None}
    feeds: dict[str, np.ndarray] = {}
    for value in program.inputs:
        shape = tuple(evaluate(dim, bindings) or 0 for dim in shapes.shape_of(value) or ())
        assert value.dtype is not None
        kind = value.dtype.numpy()
        made = rng.normal(size=shape) if kind.kind == "f" else rng.integers(0, 2 if kind.kind == "b" else 4, size=shape)
        feeds[value.name or ""] = made.astype(kind)
    return feeds
