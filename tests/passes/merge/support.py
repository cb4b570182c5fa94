"""One call from a graph as text to what `merge` makes of it, with values and value maps compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from netwright.backends.onnxruntime.executor import OrtExecutor
from netwright.ir import Program, shapes
from netwright.ir.maps import Gone
from netwright.ir.program import array
from netwright.passes.context import Context
from netwright.passes.manager import run
from netwright.passes.merge import Merge
from tests.passes.simplify.support import SIZES, assert_same, sample
from tests.passes.simplify.weights import Weights, program

__all__ = ["Merged", "merge", "merged", "program"]


@dataclass(frozen=True, slots=True)
class Merged:
    """A program before and after."""

    before: Program
    after: Program

    @property
    def ops(self) -> list[str]:
        """Operators left, in order."""
        return [node.op_type for node in self.after.graph]

    @property
    def weights(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights left."""
        return {value.name or "": tuple(value.shape.numpy()) for value in self.after.initializers() if value.shape is not None}

    @property
    def reasons(self) -> str:
        """Why chains stayed."""
        return "; ".join(miss.reason for miss in self.after.ledger.misses)

    @property
    def exact_maps(self) -> set[str]:
        """Weights whose value maps say how they came about."""
        return {name for action in self.after.ledger.actions for name, one in action.maps.items() if not isinstance(one.map, Gone)}


def merge(inputs: str, outputs: str, body: str, weights: Weights, *, dtype: str = "float32", **options: object) -> Merged:
    """Merge a graph given as text; see `merged`."""
    return merged(program(f"g ({inputs}) => ({outputs}) {{ {body} }}", weights, dtype=dtype), options)


def merged(before: Program, options: Mapping[str, object], context: Context | None = None) -> Merged:
    """Merge a program, check that a second run changes nothing and that maps say the truth, and compare values."""
    shapes.infer(before)
    one = Merge(**options)  # pyright: ignore[reportArgumentType]
    given = context or Context()
    after = run(before, (one,), given, verify_each=True).program
    again = run(after, (one,), given).program
    assert len(again.ledger.actions) == len(after.ledger.actions), [str(a) for a in again.ledger.actions[len(after.ledger.actions) :]]
    for sizes in SIZES:
        feeds = sample(before, sizes)
        assert_same(OrtExecutor().run(before, feeds), OrtExecutor().run(after, feeds))
    check_maps(before, after)
    return Merged(before, after)


def check_maps(before: Program, after: Program) -> None:
    """Each new weight is what its map makes of the old ones."""
    values: dict[str, np.ndarray] = {value.name or "": found for value in before.initializers() if (found := array(value)) is not None}
    for action in after.ledger.actions:
        made: Mapping[str, np.ndarray] = {
            name: one.map.apply(*(values[source] for source in one.sources))
            for name, one in action.maps.items()
            if not isinstance(one.map, Gone) and all(source in values for source in one.sources)
        }
        values.update(made)
    for value in after.initializers():
        name, found = value.name or "", array(value)
        if found is not None and any(name in action.maps for action in after.ledger.actions) and name in values:
            assert values[name].shape == found.shape, name
            np.testing.assert_allclose(values[name], found, rtol=1e-4, atol=1e-5, err_msg=name)
