"""Activations whose channels can be scaled: what reads them, and through which axis of which weight."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.opinfo import has_references, is_float, is_standard
from netwright.ir.program import Program, array, constant
from netwright.passes.rewrite import Miss, site_of
from netwright.passes.statistics import layer_of

RECURRENT = ("LSTM", "GRU", "RNN")


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """A node that multiplies the activation by a constant.

    Attributes:
        node: MatMul, Gemm, or a recurrent layer.
        weight: the constant.
        axis: of the weight, along which the activation's channels lie.
    """

    node: onnx_ir.Node
    weight: onnx_ir.Value
    axis: int

    @property
    def name(self) -> str:
        """The reader's site."""
        return site_of(self.node)

    def matrix(self) -> np.ndarray:
        """The weight as [channels, outputs], float32."""
        data = array(self.weight)
        assert data is not None, "found by its constant weight"
        moved = np.moveaxis(data, self.axis, 0)
        return np.ascontiguousarray(moved.reshape(moved.shape[0], -1), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """An activation with all products that read it: their weights take over what its channels are divided by.

    Attributes:
        activation: its channels lie along the last axis.
        readers: in graph order.
        alone: whether nothing but the readers reads it.
    """

    activation: onnx_ir.Value
    readers: tuple[Reader, ...]
    alone: bool

    @property
    def name(self) -> str:
        """The activation's."""
        return self.activation.name or ""

    @property
    def channels(self) -> int:
        """How many the activation has."""
        tensor = constant(self.readers[0].weight)
        assert tensor is not None, "found by its constant weight"
        return int(tensor.shape[self.readers[0].axis])  # pyright: ignore[reportArgumentType]


def find_groups(program: Program) -> Iterator[Group | Miss]:
    """The groups of the main graph in the order of their first readers; a Miss where a weight cannot be changed. Linear in nodes."""
    by_activation: dict[onnx_ir.Value, list[Reader]] = {}
    for node in program.graph:
        found = _reader(node)
        if found is not None:
            by_activation.setdefault(found[0], []).append(found[1])
    for activation, readers in by_activation.items():
        stranger = next((problem for reader in readers if (problem := _tied(reader, readers)) is not None), None)
        if stranger is not None:
            yield Miss(stranger, activation.name or "")
            continue
        seats = {(reader.node, 0) for reader in readers}
        alone = not activation.is_graph_output() and not activation.is_graph_input() and all(use in seats for use in activation.uses())
        yield Group(activation, tuple(readers), alone)


def _reader(node: onnx_ir.Node) -> tuple[onnx_ir.Value, Reader] | None:
    if is_standard(node, *RECURRENT) and not has_references(node):
        data, weight = node.inputs[0], node.inputs[1]
        tensor = constant(weight)
        if data is None or weight is None or tensor is None or not is_float(tensor.dtype) or len(tensor.shape) != 3:
            return None
        return data, Reader(node, weight, 2)
    layer = layer_of(node)
    if layer is None or layer.window is not None or layer.left or layer.channel_axis != -1:
        return None
    return layer.data, Reader(node, layer.weight, layer.in_axis)


def _tied(reader: Reader, group: list[Reader]) -> str | None:
    """Why the weight cannot change: it is an output, or something outside the group reads it."""
    weight = reader.weight
    if weight.is_graph_output():
        return f"left as it is: the weight %{weight.name} is an output of the graph"
    if not weight.is_initializer() or weight.is_graph_input():
        return f"left as it is: the weight %{weight.name} is no initializer of its own; run simplify first"
    members = {(one.node, one.weight) for one in group}
    pending = [weight]
    while pending:
        value = pending.pop()
        for user, _ in value.uses():
            if (user, weight) in members:
                continue
            if is_standard(user, "Transpose", "Identity") and not user.outputs[0].is_graph_output():
                pending.append(user.outputs[0])
                continue
            return f"left as it is: its weight %{weight.name} is also read by {user.op_type} %{site_of(user)}"
    return None
