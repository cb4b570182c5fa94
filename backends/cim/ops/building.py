"""Small graphs of standard operators, for expansions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir

OPSET = 18
"""Expansions use operators as they have been since this version."""


class Body:
    """A graph in the making: inputs named as the operator's formals, Constants as nodes, so that it can be a function's body.

    Args:
        inputs: names of the inputs.
    """

    def __init__(self, *inputs: str) -> None:
        self._inputs = [onnx_ir.Value(name=name) for name in inputs]
        self._nodes: list[onnx_ir.Node] = []

    def input(self, index: int) -> onnx_ir.Value:
        """An input by position."""
        return self._inputs[index]

    def op(
        self, op_type: str, inputs: Sequence[onnx_ir.Value], attributes: Mapping[str, int | float | str | Sequence[int]] | None = None
    ) -> onnx_ir.Value:
        """Append a node with one output and return that output."""
        attrs = [onnx_ir.convenience.convert_attribute(key, value) for key, value in (attributes or {}).items()]
        output = onnx_ir.Value(name=f"{op_type.lower()}_{len(self._nodes)}")
        self._nodes.append(onnx_ir.Node("", op_type, inputs, attrs, outputs=[output], name=output.name))
        return output

    def constant(self, data: np.ndarray | int | Sequence[int]) -> onnx_ir.Value:
        """Append a constant; plain integers are int64."""
        held = data if isinstance(data, np.ndarray) else np.array(data, np.int64)
        output = onnx_ir.Value(name=f"constant_{len(self._nodes)}")
        value = onnx_ir.AttrTensor("value", onnx_ir.Tensor(held))
        self._nodes.append(onnx_ir.Node("", "Constant", [], [value], outputs=[output], name=output.name))
        return output

    def finish(self, output: onnx_ir.Value, name: str) -> onnx_ir.Graph:
        """The graph, with its one output."""
        return onnx_ir.Graph(self._inputs, [output], nodes=self._nodes, opset_imports={"": OPSET}, name=name)
