"""Program: a graph with its ledger and cached facts; the only thing that passes between rooms.

The graph is an `onnx_ir.Model`. Reading it directly is welcome (`program.model`, `program.graph`, `program.nodes(...)`);
changing it goes through one gate, `Editor` (`program.edit()`), which advances `program.version` and drops facts that no
longer hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
import onnx_ir

from netwright.ir.ledger import Ledger

if TYPE_CHECKING:
    from netwright.ir.editor import Editor, Names

T = TypeVar("T")


@runtime_checkable
class Copyable(Protocol):
    """A resource that a clone gets a copy of; others are shared."""

    def copy(self) -> object:
        """A copy that changes on its own."""
        ...


class Program:
    """An ONNX graph, the record of what made it, and what is known about it.

    Args:
        model: the graph, taken over (not copied).
        ledger: the actions so far.
        properties: facts that passes require or break, such as `"Trainable"`.
    """

    __slots__ = ("_facts", "_names", "_version", "ledger", "model", "properties", "resources")

    def __init__(self, model: onnx_ir.Model, *, ledger: Ledger | None = None, properties: frozenset[str] = frozenset()) -> None:
        self.model = model
        self.ledger = ledger if ledger is not None else Ledger()
        self.properties = properties
        self.resources: dict[str, object] = {}
        """What frontends keep beside the graph (the traced module, for one), by their own keys; never serialised."""
        self._version = 0
        self._names: Names | None = None
        self._facts: dict[Callable[[Program], object], object] = {}

    # ---- reading -------------------------------------------------------------------------------------------------

    @property
    def graph(self) -> onnx_ir.Graph:
        """The main graph."""
        return self.model.graph

    @property
    def name(self) -> str:
        """The graph's name."""
        return self.graph.name or "main"

    @property
    def opset(self) -> int:
        """Version of the standard ONNX operator set that the graph uses."""
        return self.model.opset_imports.get("", 0)

    @property
    def version(self) -> int:
        """Counts the changes made through the editor: equal versions mean an unchanged graph."""
        return self._version

    @property
    def inputs(self) -> tuple[onnx_ir.Value, ...]:
        """The main graph's inputs that a caller must feed (initializers with the same name left out)."""
        return tuple(v for v in self.graph.inputs if v.name not in self.graph.initializers)

    @property
    def outputs(self) -> tuple[onnx_ir.Value, ...]:
        """The main graph's outputs."""
        return tuple(self.graph.outputs)

    def graphs(self) -> Iterator[onnx_ir.Graph]:
        """The main graph, its subgraphs (If, Loop, Scan), then the bodies of model-local functions and their subgraphs."""
        yield self.graph
        yield from self.graph.subgraphs()
        for function in self.model.functions.values():
            yield function.graph
            yield from function.subgraphs()

    def nodes(self, *op_types: str, domain: str | None = None) -> Iterator[onnx_ir.Node]:
        """All nodes of all graphs, in graph order; those of the given operator types only, where given.

        Args:
            op_types: operator names such as `"MatMul"`; none means all.
            domain: only this operator domain; `None` means all.
        """
        wanted = frozenset(op_types)
        for graph in self.graphs():
            for node in graph:
                if (not wanted or node.op_type in wanted) and (domain is None or node.domain == domain):
                    yield node

    def initializers(self) -> Iterator[onnx_ir.Value]:
        """All initializers of all graphs."""
        for graph in self.graphs():
            yield from graph.initializers.values()

    def value(self, name: str) -> onnx_ir.Value:
        """The value of this name, in any graph (the main graph's first).

        Raises:
            KeyError: there is none.
        """
        return self.fact(_values_by_name)[name]

    def fact(self, compute: Callable[[Program], T]) -> T:
        """An analysis result, computed once for each version of the graph.

        Args:
            compute: the analysis, a module-level function from a Program to its result; it is the cache's key.
        """
        if compute not in self._facts:
            self._facts[compute] = compute(self)
        return cast("T", self._facts[compute])

    # ---- copying and changing ------------------------------------------------------------------------------------

    def clone(self) -> Program:
        """A Program that changes on its own; tensors are shared. Linear in nodes (about 50 µs each)."""
        copy = Program(self.model.clone(), ledger=self.ledger.copy(), properties=self.properties)
        copy.resources = {key: kept.copy() if isinstance(kept, Copyable) else kept for key, kept in self.resources.items()}
        return copy

    def edit(self, *, by: str = "", at: onnx_ir.Node | None = None) -> Editor:
        """Open a transaction: `with program.edit(at=node) as editor: …`.

        Args:
            by: number of the action, stamped on new nodes.
            at: the node before which new nodes go, and whose provenance they inherit.
        """
        from netwright.ir.editor import Editor

        return Editor(self, by=by, at=at)

    @property
    def names(self) -> Names:
        """The names in use; built on first use (linear), then kept up by the editor."""
        if self._names is None:
            from netwright.ir.editor import Names

            used = [*_values_by_name(self), *(node.name or "" for node in self.nodes())]
            self._names = Names(used)
        return self._names

    def adopt(self, model: onnx_ir.Model) -> None:
        """Take over another graph in the place of this one. Called by the editor (`Editor.replace_model`)."""
        self.model = model
        self._names = None

    def touch(self, *, preserves: frozenset[Callable[[Program], object]] = frozenset()) -> None:
        """Advance the version and drop every fact not preserved. Called by the editor; passes never need it."""
        self._version += 1
        self._facts = {key: fact for key, fact in self._facts.items() if key in preserves} if preserves else {}

    def __repr__(self) -> str:
        count = sum(1 for _ in self.nodes())
        return f"<Program {self.name!r} opset {self.opset}, {count} nodes>"


def _values_by_name(program: Program) -> dict[str, onnx_ir.Value]:
    found: dict[str, onnx_ir.Value] = {}
    for graph in program.graphs():
        for value in (*graph.inputs, *graph.initializers.values()):
            found.setdefault(value.name or "", value)
        for node in graph:
            for value in node.outputs:
                found.setdefault(value.name or "", value)
    return found


def constant(value: onnx_ir.Value | None) -> onnx_ir.TensorProtocol | None:
    """The tensor behind a value that never changes (an initializer, or a Constant node's output), else None.

    An initializer that is also a graph input can be overridden by the caller, and so is not constant.
    """
    if value is None:
        return None
    if value.is_initializer():
        return None if value.is_graph_input() else value.const_value
    node = value.producer()
    if node is None or node.op_type != "Constant" or node.domain:
        return None
    return onnx_ir.convenience.get_const_tensor(value)


def array(value: onnx_ir.Value | None, *, limit: int | None = None) -> np.ndarray | None:
    """A constant value's elements as a numpy array (not to be written to), else None.

    Args:
        value: any value, or None.
        limit: give up on tensors of more elements than this (nothing is read then).
    """
    tensor = constant(value)
    if tensor is None or (limit is not None and tensor.size > limit):
        return None
    return tensor.numpy()
