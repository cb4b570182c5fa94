"""What a chain on folded channels computes: it is run, in float64, on rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod

import numpy as np
import onnx_ir

from netwright.ir.dims import shape_of
from netwright.ir.opinfo import is_float
from netwright.passes.merge.folded import Folded, known
from netwright.passes.simplify.evaluate import EvaluationError, evaluate

_TOLERANCE = 1e-9
"""How far random rows may be off, relative to the largest result: everything is computed in float64."""


@dataclass(frozen=True, slots=True, eq=False)
class Runner:
    """Runs a chain in float64 on rows."""

    chain: Folded
    opset: int

    def _lead(self, rows: int) -> tuple[int, ...]:
        """Leading axes that hold so many rows, where they are free to; the first free one takes what is needed."""
        dims = (shape_of(self.chain.data) or ())[:-1]
        fixed = prod(dim for dim in dims if isinstance(dim, int))
        lead: list[int] = []
        for dim in dims:
            lead.append(dim if isinstance(dim, int) else max(1, ceil(rows / fixed)))
            if not isinstance(dim, int):
                rows = 1
        return tuple(lead)

    def run(self, rows: np.ndarray) -> np.ndarray:
        """[n, inputs] → [n, outputs], as many at a time as the data's fixed axes allow."""
        lead = self._lead(len(rows))
        many = prod(lead)
        padded = np.concatenate([rows, np.zeros((-len(rows) % many, rows.shape[1]))])
        parts = [self._once(part.reshape(*lead, -1))[-1] for part in np.split(padded, len(padded) // many)]
        return np.concatenate([part.reshape(many, -1) for part in parts])[: len(rows)]

    def _once(self, x: np.ndarray) -> list[np.ndarray]:
        """What each node gives."""
        values: dict[onnx_ir.Value, np.ndarray] = {self.chain.data: x}
        made: list[np.ndarray] = []
        for node in self.chain.nodes:
            try:
                (result,) = _evaluate(node, values, self.opset)
            except (ValueError, IndexError) as error:
                raise EvaluationError(f"{node.op_type}: {error}", place=node.outputs[0].name) from error
            values[node.outputs[0]] = result
            made.append(result)
        if made[-1].shape[:-1] != x.shape[:-1]:
            raise EvaluationError(f"its result is {list(made[-1].shape)} for data of {list(x.shape)}", place=self.chain.result.name)
        return made

    def macs(self) -> tuple[float, int]:
        """Multiply-accumulates for one row, and outputs."""
        lead = self._lead(1)
        made = self._once(np.zeros((*lead, self.chain.inputs)))
        total = 0
        for node, result in zip(self.chain.nodes, made, strict=True):
            constants = [found for value in node.inputs if (found := known(value)) is not None]
            if node.op_type == "MatMul" and constants:
                total += result.size * constants[0].shape[-2 if known(node.inputs[1]) is not None else -1]
        return total / prod(lead), made[-1].shape[-1]

    def matrix(self) -> tuple[np.ndarray, np.ndarray] | None:
        """W: [inputs, outputs] and b: [outputs]; None where random rows say that there is more to it."""
        bias = self.run(np.zeros((1, self.chain.inputs)))[0]
        weight = self.run(np.eye(self.chain.inputs)) - bias
        rows = np.random.default_rng(0).normal(size=(7, self.chain.inputs))
        expected, found = rows @ weight + bias, self.run(rows)
        close = np.abs(found - expected).max(initial=0.0) <= _TOLERANCE * max(1.0, np.abs(expected).max(initial=0.0))
        return (weight, bias) if close else None


def _evaluate(node: onnx_ir.Node, values: Mapping[onnx_ir.Value, np.ndarray], opset: int) -> Sequence[np.ndarray]:
    inputs: list[np.ndarray | None] = []
    for value in node.inputs:
        operand = None if value is None else values.get(value)
        if operand is None:
            found = known(value)
            operand = found.astype(np.float64) if found is not None and value is not None and is_float(value.dtype) else found
        inputs.append(operand)
    if node.op_type == "MatMul" and all(given is not None for given in inputs):
        left, right = (given for given in inputs if given is not None)
        return [left @ right]
    return evaluate(node, inputs, opset)
