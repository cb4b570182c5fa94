"""Layers that consume the units of a group, and the activations that they see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.coupling.group import Group, Slice
from netwright.ir.opinfo import int_attr, is_standard
from netwright.ir.program import Program, constant
from netwright.passes.statistics import layer_of

RECURRENT = ("LSTM", "GRU", "RNN")


@dataclass(frozen=True, slots=True, eq=False)
class Consumer:
    """A weight that multiplies an activation whose channels are units.

    Attributes:
        part: the slice of the weight.
        value: name of the activation.
        axis: along which its channels lie, from the end or the start.
        units: for each channel the number of its unit, -1 where it belongs to another group.
        groups: of a convolution.
    """

    part: Slice
    value: str
    axis: int
    units: np.ndarray
    groups: int = 1

    def by_channel(self, weight: np.ndarray) -> np.ndarray:
        """The weight as [channels, what each channel is multiplied by]."""
        if self.groups > 1 and self.part.axis == 1:
            split = weight.reshape(self.groups, -1, *weight.shape[1:])
            return np.moveaxis(split, 2, 1).reshape(len(self.units), -1)
        return np.moveaxis(weight, self.part.axis, 0).reshape(len(self.units), -1)


def consumers_of(program: Program, group: Group) -> list[Consumer]:
    """The consumers in the main graph whose activation can be seen; linear in nodes."""
    by_weight: dict[str, list[onnx_ir.Node]] = {}
    for node in program.graph:
        for name in _weights(node):
            by_weight.setdefault(name, []).append(node)
    return [
        found
        for part in group.consuming
        for node in by_weight.get(part.weight, [])
        if (found := _consumer(node, part)) is not None and _seen(program, found.value)
    ]


def _weights(node: onnx_ir.Node) -> Iterator[str]:
    """Names of the constants by which a node multiplies something."""
    layer = layer_of(node)
    if layer is not None:
        yield layer.weight.name or ""
    elif is_standard(node, "ConvTranspose", *RECURRENT):
        yield from (value.name or "" for value in node.inputs[1:3] if value is not None and constant(value) is not None)


def _consumer(node: onnx_ir.Node, part: Slice) -> Consumer | None:
    layer = layer_of(node)
    if layer is not None:
        if layer.in_axis != part.axis:
            return None
        return Consumer(part, layer.data.name or "", layer.channel_axis, np.tile(part.units, layer.groups), layer.groups)
    if node.op_type == "ConvTranspose":
        data = node.inputs[0]
        return Consumer(part, data.name or "", 1, part.units, int_attr(node, "group", 1)) if data is not None and part.axis == 0 else None
    if part.axis != 2:
        return None
    data = node.inputs[0] if _is(node.inputs[1], part) else node.outputs[0] if node.outputs else None  # R sees the layer's own states
    return None if data is None or not data.name else Consumer(part, data.name, -1, part.units)


def _is(value: onnx_ir.Value | None, part: Slice) -> bool:
    return value is not None and value.name == part.weight


def _seen(program: Program, name: str) -> bool:
    """True of values of the main graph."""
    value = program.value(name)
    producer = value.producer()
    return value.graph is program.graph if producer is None else producer.graph is program.graph
