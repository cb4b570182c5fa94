"""What is known while units are removed: the labels of every axis, as they are now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import onnx_ir

from netwright.ir.coupling.analysis import Partition
from netwright.ir.coupling.axes import Axis, Tracked, size_of
from netwright.ir.coupling.walk import ConstantKey, Mode
from netwright.ir.dims import Dim, shape_of
from netwright.ir.opinfo import subgraphs
from netwright.ir.program import Program


@dataclass(slots=True)
class State:
    """A partition whose labels follow the removals that were applied.

    Attributes:
        program: what is changed.
        partition: the groups.
        values: axes of values by now.
        constants: axes of constants by now, by what holds them now.
        moved: what holds a constant that was copied for one reader, or scaled.
        origins: for what holds one, the constant that it was.
        gone: which units are gone, bool.
        order: place of each node, those inside a node before it.
        parents: the node that holds a graph.
        added_values: values that a removal has put in.
        added_constants: likewise.
    """

    program: Program
    partition: Partition
    values: dict[onnx_ir.Value, tuple[Axis, ...]]
    constants: dict[ConstantKey, tuple[Axis, ...]]
    moved: dict[ConstantKey, onnx_ir.Value] = field(default_factory=dict["ConstantKey", onnx_ir.Value])
    origins: dict[onnx_ir.Value, onnx_ir.Value] = field(default_factory=dict[onnx_ir.Value, onnx_ir.Value])
    gone: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    order: dict[onnx_ir.Node, float] = field(default_factory=dict[onnx_ir.Node, float])
    added_values: list[onnx_ir.Value] = field(default_factory=list[onnx_ir.Value])
    added_constants: list[ConstantKey] = field(default_factory=list["ConstantKey"])
    parents: dict[onnx_ir.Graph, onnx_ir.Node] = field(default_factory=dict[onnx_ir.Graph, onnx_ir.Node])

    @classmethod
    def of(cls, program: Program, partition: Partition) -> State:
        """The state before anything is removed."""
        walk = partition.traced.walk
        state = cls(program, partition, dict(walk.values), dict(walk.constants))
        state.gone = np.zeros(partition.traced.solved.count, dtype=bool)
        state.order = {node: number for number, node in enumerate(_nodes(program.graph))}
        state.parents = {body: node for node in state.order for _, body in subgraphs(node)}
        return state

    @property
    def mode(self) -> Mode:
        """Along which factor of cut axes units lie."""
        return self.partition.traced.walk.mode

    def key(self, value: onnx_ir.Value, node: onnx_ir.Node) -> ConstantKey:
        """Under which key the axes of a constant are kept that a node reads now."""
        origin = self.origins.get(value, value)
        return (origin, node) if (origin, node) in self.constants else (origin, None)

    def move(self, key: ConstantKey, holder: onnx_ir.Value) -> None:
        """A constant is held by another value from now on."""
        self.moved[key] = holder
        self.origins[holder] = key[0]

    def add_value(self, value: onnx_ir.Value, like: onnx_ir.Value, before: onnx_ir.Node) -> None:
        """A new node's output, with the axes of another value."""
        self.values[value] = self.values.get(like, ())
        self.added_values.append(value)
        node = value.producer()
        if node is not None:
            self.order[node] = self.order.get(before, len(self.order)) - 0.5

    def add_constant(self, value: onnx_ir.Value, node: onnx_ir.Node, axes: tuple[Axis, ...]) -> None:
        """A new constant of one node, or one in the place of what it read."""
        self.constants[value, node] = axes
        self.added_constants.append((value, node))

    def first_reader(self, value: onnx_ir.Value) -> onnx_ir.Node | None:
        """The first node of the value's own graph that reads it, or that holds a graph which does."""
        found: list[onnx_ir.Node] = []
        for use in value.uses():
            node: onnx_ir.Node | None = use.node
            while node is not None and node.graph is not value.graph:
                node = self.parents.get(node.graph) if node.graph is not None else None
            if node is not None:
                found.append(node)
        return min(found, key=lambda node: self.order.get(node, len(self.order)), default=None)

    def units(self, axis: Tracked) -> np.ndarray:
        """The unit of each index along an axis."""
        return self.partition.traced.solved.unit_of[axis.labels]

    def holder(self, key: ConstantKey) -> onnx_ir.Value:
        """The value that holds a constant now."""
        return self.moved.get(key, key[0])

    def keep(self, axis: Tracked, gone: np.ndarray) -> np.ndarray:
        """Which indices of an axis stay, bool."""
        return ~gone[self.units(axis)]

    def without(self, axes: Iterable[Axis], gone: np.ndarray) -> tuple[Axis, ...]:
        """Axes as they are once units are gone."""
        return tuple(
            Tracked(axis.labels[self.keep(axis, gone)], axis.outer, axis.inner) if isinstance(axis, Tracked) else axis for axis in axes
        )


def expected_dims(value: onnx_ir.Value, before: Iterable[Axis], after: Iterable[Axis]) -> tuple[Dim, ...]:
    """A value's dimensions after a removal: those along changed axes follow from their labels."""
    dims = shape_of(value) or ()
    return tuple(
        size_of(new) if isinstance(old, Tracked) and isinstance(new, Tracked) and len(old.labels) != len(new.labels) else dim
        for dim, old, new in zip(dims, before, after, strict=True)
    )


def _nodes(graph: onnx_ir.Graph) -> Iterable[onnx_ir.Node]:
    for node in graph:
        for _, body in subgraphs(node):
            yield from _nodes(body)
        yield node
