"""What is known of every tensor before anything has a place: type, shape, batch, and the axis that it is made along."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir

from netwright.backends.cim.mapping.reaches import flow, input_axis
from netwright.backends.cim.mapping.regions import Cut
from netwright.backends.cim.mapping.stages import Product, Rescale, Stage
from netwright.backends.cim.program.model import Reach, Tensor
from netwright.ir.errors import UnsupportedModelError
from netwright.ir.program import Program
from netwright.ir.shapes import static_shape

_LATE = "It is known only when the model runs, and a chip has fixed buffers: end the model before the operator that makes it."


@dataclass(frozen=True)
class Facts:
    """All tensors, and how regions stream.

    Attributes:
        tensors: by name; their layouts are not known yet.
        reaches: by region's name.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    reaches: dict[str, tuple[Reach, ...]] = field(default_factory=dict[str, tuple[Reach, ...]])

    def streams(self, name: str) -> int:
        """The axis that a tensor is made along."""
        return self.tensors[name].stream


def facts_of(program: Program, cut: Cut, stages: tuple[Stage, ...]) -> Facts:
    """What is known of the tensors of a program.

    Raises:
        UnsupportedModelError: a type or shape is not known, or callers may leave an input out.
    """
    for name in (value.name or "" for value in program.graph.inputs):
        if name in program.graph.initializers:
            raise UnsupportedModelError(
                f"The input %{name} has a default, and a chip takes every input of every sample.",
                place=name,
                remedy="Take it out of the graph's initializers, so that it is always fed, or out of its inputs, so that it is constant.",
            )
    found = Facts()
    values = {value.name or "": value for node in program.graph for value in node.outputs}
    values |= {value.name or "": value for value in program.graph.inputs}

    def add(name: str, stream: int) -> None:
        found.tensors[name] = tensor_of(values[name], stream, cut.batch_axes.get(name, -1))

    for value in program.inputs:
        add(value.name or "", input_axis(value, cut.pieces))
    for stage in stages:
        if isinstance(stage, Product):
            stream = first_axis(stage.shape) if stage.window is None else 1 if stage.shape[1] > 1 else -1
            if stage.lead is not None and stage.shape[-2] > 1:  # matrices stand side by side: vectors follow each other
                stream = len(stage.shape) - 2
            add(stage.sums, stream)
            if stage.rescale is not None:
                add(stage.rescale.target, stream)
        elif isinstance(stage, Rescale):
            add(stage.target, found.streams(stage.source))
        else:
            reaches, axes = flow(stage, found.streams)
            found.reaches[stage.name] = reaches
            for name in stage.outputs:
                add(name, axes[name])
    return found


def first_axis(shape: tuple[int, ...]) -> int:
    """The first axis but the last that has more than one place; −1 for none."""
    return next((axis for axis, extent in enumerate(shape[:-1]) if extent > 1), -1)


def tensor_of(value: onnx_ir.Value, stream: int, batch: int) -> Tensor:
    """A value as a tensor without layout.

    Raises:
        UnsupportedModelError: its type or shape is not known.
    """
    shape = static_shape(value)
    if shape is None or value.dtype is None:
        raise UnsupportedModelError(
            f"The {'shape' if shape is None else 'type'} of %{value.name} is not known.",
            place=value.name,
            remedy="Give every dimension a number: dims={'sequence': 64}." if value.producer() is None else _LATE,
        )
    return Tensor(value.name or "", value.dtype.numpy().name, shape, None, stream, batch)
