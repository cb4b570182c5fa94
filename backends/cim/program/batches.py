"""Where a bound program's callers see the batch: noted when its sizes become numbers, for passes may make outputs anew."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from onnx_ir import SymbolicDim

from netwright.ir.dims import Dim, names_in, shape_of
from netwright.ir.program import Program
from netwright.ir.signature import Port, input_ports, output_ports

_BATCH = "netwright.batch"
"""Metadata of a bound graph: the batch's name, and its axes of inputs and of outputs, as JSON."""


@dataclass(frozen=True, slots=True)
class BatchAxes:
    """The batch of a bound program.

    Attributes:
        name: of the batch.
        inputs: by place, the axis that is the batch; −1 where none is, None where the model does not tell.
        outputs: likewise.
    """

    name: str
    inputs: tuple[int | None, ...]
    outputs: tuple[int | None, ...]


def batch_axes_of(program: Program) -> BatchAxes | None:
    """What was noted of a bound program; None where its dimensions named no batch."""
    graph = program.graph
    try:
        name, inputs, outputs = json.loads(graph.metadata_props.get(_BATCH, ""))
        axes = BatchAxes(str(name), tuple(inputs), tuple(outputs))
    except (ValueError, TypeError):
        return None
    fits = len(axes.inputs) == len(graph.inputs) and len(axes.outputs) == len(graph.outputs)
    return axes if fits and all(axis is None or type(axis) is int for axis in (*axes.inputs, *axes.outputs)) else None


def note_batch(program: Program, batch: str) -> None:
    """Note where the batch is, before it becomes a number.

    Args:
        program: its dimensions still have names.
        batch: the name; empty where there is none, and nothing is noted.
    """
    if not batch:
        return
    graph = program.graph
    known = {name for value in graph.inputs for name in names_in(shape_of(value) or ())}
    inputs, outputs = ([_batch_axis(shape_of(value), batch, known) for value in side] for side in (graph.inputs, graph.outputs))
    graph.metadata_props[_BATCH] = json.dumps([batch, inputs, outputs])


def ports(program: Program) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Inputs and outputs of a bound program with the batch still a name, as a caller sees them; other axes are numbers."""
    inputs, outputs, found = input_ports(program), output_ports(program), batch_axes_of(program)
    if found is None:
        return inputs, outputs
    return _named(inputs, found.inputs, found.name), _named(outputs, found.outputs, found.name)


def is_bound(program: Program) -> bool:
    """True of a program that `bind` made for one sample, whose callers may still feed many."""
    return batch_axes_of(program) is not None


def _batch_axis(dims: Sequence[Dim] | None, batch: str, known: Collection[str]) -> int | None:
    """The axis that is the batch; −1 where none is by itself (4·batch rows are of several samples); None where a size is not known."""
    if dims is None or any(isinstance(dim, SymbolicDim) and (dim.value is None or names_in((dim,)) - set(known)) for dim in dims):
        return None
    found = [axis for axis, dim in enumerate(dims) if batch in names_in((dim,))]
    return found[0] if len(found) == 1 and str(dims[found[0]]) == batch else -1


def _named(ports: Sequence[Port], axes: Sequence[int | None], name: str) -> tuple[Port, ...]:
    return tuple(
        one
        if one.shape is None or axis is None or axis < 0
        else replace(one, shape=tuple(name if place == axis else size for place, size in enumerate(one.shape)))
        for one, axis in zip(ports, axes, strict=True)
    )
