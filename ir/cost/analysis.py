"""The cost analysis: every node's parameters, multiply-accumulates and traffic, and their sums."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import onnx_ir

from netwright.ir.cost.bindings import default_bindings
from netwright.ir.cost.macs import macs
from netwright.ir.cost.params import parameters
from netwright.ir.cost.quantity import ONE, UNKNOWN, ZERO, Quantity
from netwright.ir.dims import Dim, evaluate, names_in, shape_of
from netwright.ir.opinfo import bits_of, int_attr, ints_attr, site, subgraphs
from netwright.ir.origin import MODULE
from netwright.ir.program import Program
from netwright.ir.shape_context import contents, is_generated
from netwright.ir.shapes import generated_joints, specialised

_VIEWS = frozenset({"Constant", "Flatten", "Identity", "Reshape", "Shape", "Size", "Squeeze", "Unsqueeze"})
"""Operators that move no data."""

_LOOKUPS = frozenset({"Gather", "GatherBlockQuantized", "GatherElements", "GatherND", "Slice"})
"""Operators that read as much as they write, not their whole first input."""


@dataclass(frozen=True, slots=True)
class NodeCost:
    """What one node costs in one run of the program (all rounds of the loops around it together).

    Attributes:
        site: name of its first output.
        op: operator, with its domain where it is not the standard one.
        module: dotted module path, empty where unknown.
        params: parameters that it is the first to read.
        macs: multiply-accumulates.
        bytes_read: of inputs, weights included.
        bytes_written: of outputs.
    """

    site: str
    op: str
    module: str
    params: int
    macs: Quantity
    bytes_read: Quantity
    bytes_written: Quantity


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums at given sizes of the named dimensions; None where something could not be counted."""

    nodes: int
    params: int
    macs: int | None
    bytes_read: int | None
    bytes_written: int | None


@dataclass(frozen=True, slots=True)
class CostRow:
    """One row of a table: a layer, operator or module."""

    name: str
    nodes: int
    params: int
    macs: int | None
    bytes_read: int | None
    bytes_written: int | None

    def to_dict(self) -> dict[str, str | int | None]:
        """The row as JSON."""
        return {
            "name": self.name,
            "nodes": self.nodes,
            "params": self.params,
            "macs": self.macs,
            "bytes_read": self.bytes_read,
            "bytes_written": self.bytes_written,
        }


@dataclass(frozen=True, slots=True)
class Cost:
    """What a program costs.

    Attributes:
        nodes: every node's share, in graph order; of an If, only the branch that costs more.
        unread: parameters that no node reads.
        notes: what could only be guessed, as sentences: loops of unknown length, operators that nothing is known of.
        guesses: for dimensions that inference or only an output named, the dimensions that they are as large as the largest of.
    """

    nodes: tuple[NodeCost, ...]
    unread: int
    notes: tuple[str, ...]
    guesses: Mapping[str, tuple[str, ...]]

    @property
    def params(self) -> int:
        """Elements of all parameters."""
        return self.unread + sum(node.params for node in self.nodes)

    @property
    def macs(self) -> Quantity:
        """Multiply-accumulates of one run; `macs.evaluate({"batch": 1, "seq": 128})`."""
        return Quantity.sum(node.macs for node in self.nodes)

    @property
    def bytes_read(self) -> Quantity:
        """Bytes that all nodes read."""
        return Quantity.sum(node.bytes_read for node in self.nodes)

    @property
    def bytes_written(self) -> Quantity:
        """Bytes that all nodes write."""
        return Quantity.sum(node.bytes_written for node in self.nodes)

    def totals(self, bindings: Mapping[str, int]) -> Totals:
        """The sums at these sizes. Dimensions that inference named and nothing binds count as 1."""
        row = _row("", self.nodes, self._sizes(bindings))
        return Totals(row.nodes, row.params + self.unread, row.macs, row.bytes_read, row.bytes_written)

    def by_layer(self, bindings: Mapping[str, int]) -> list[CostRow]:
        """One row for each node with parameters or MACs, in graph order, and one for the rest."""
        return self._rows(lambda node: node.site if node.params or node.macs.terms else "(other)", bindings)

    def by_op(self, bindings: Mapping[str, int]) -> list[CostRow]:
        """One row for each operator, the dearest first."""
        rows = self._rows(lambda node: node.op, bindings)
        return sorted(rows, key=lambda row: (-(row.macs or 0), -row.params, -row.nodes, row.name))

    def by_module(self, bindings: Mapping[str, int]) -> list[CostRow]:
        """One row for each module path, in graph order."""
        return self._rows(lambda node: node.module or "(none)", bindings)

    def _rows(self, key: Callable[[NodeCost], str], bindings: Mapping[str, int]) -> list[CostRow]:
        groups: dict[str, list[NodeCost]] = {}
        for node in self.nodes:
            groups.setdefault(key(node), []).append(node)
        size_of = self._sizes(bindings)
        rows = [_row(name, nodes, size_of) for name, nodes in groups.items()]
        if self.unread:
            rows.append(CostRow("(unread)", 0, self.unread, 0, 0, 0))
        return rows

    def _sizes(self, bindings: Mapping[str, int]) -> Callable[[Dim], int | None]:
        return sizes(bindings, self.guesses)


def cost(program: Program) -> Cost:
    """Count what a program costs; linear in nodes, about 10 µs each. Use as `program.fact(cost)`.

    Nodes in a loop count once a round, where the number of rounds is known (and once where not, with a note); of the
    branches of an If the one with more MACs counts; the body of a function counts for each call.
    """
    walk = _Walk(program)
    walk.graph(program.graph, ONE)
    unread = sum(walk.unclaimed.values())
    return Cost(tuple(walk.found), unread, tuple(walk.notes), generated_joints(program))


class _Walk:
    """One run over a program."""

    __slots__ = ("_known", "_program", "_size_of", "found", "notes", "unclaimed")

    def __init__(self, program: Program) -> None:
        self._program = program
        self._size_of = sizes(default_bindings(program), generated_joints(program))
        self._known: dict[tuple[tuple[Dim, ...], onnx_ir.DataType], Quantity] = {}
        self.found: list[NodeCost] = []
        self.notes: dict[str, None] = {}
        self.unclaimed = parameters(program)
        """Parameters that no node has been seen to read yet."""

    def graph(self, graph: onnx_ir.Graph, times: Quantity, prefix: str = "", module: str = "") -> None:
        for node in graph:
            if node.domain and node.op_identifier() in self._program.model.functions:
                self._call(node, times, prefix, module)
                continue
            self.found.append(self._node(node, times, prefix, module))
            held = subgraphs(node)
            if held:
                self._inner(node, held, times, prefix, module)

    def _node(self, node: onnx_ir.Node, times: Quantity, prefix: str, module: str) -> NodeCost:
        view = node.op_type in _VIEWS and not node.domain
        params = sum(self.unclaimed.pop(value, 0) for value in node.inputs if value is not None)
        once = times is ONE
        count = macs(node)
        read = ZERO if view else self._read(node)
        written = ZERO if view else Quantity.sum([self._bytes(value) for value in node.outputs if value.name])
        return NodeCost(
            site=prefix + site(node),
            op=f"{node.domain}::{node.op_type}" if node.domain else node.op_type,
            module=module_of(node) or module,
            params=params,
            macs=count if once else count * times,
            bytes_read=read if once else read * times,
            bytes_written=written if once else written * times,
        )

    def _read(self, node: onnx_ir.Node) -> Quantity:
        inputs = list(dict.fromkeys(value for value in node.inputs if value is not None))
        if node.op_type in _LOOKUPS and inputs:
            inputs[0] = node.outputs[0]
        return Quantity.sum([self._bytes(value) for value in inputs])

    def _bytes(self, value: onnx_ir.Value) -> Quantity:
        """Bytes of a value; unknown where its shape or type is. Sequences and strings have no fixed size and count as none."""
        if value.const_value is not None:
            return Quantity({(): value.const_value.nbytes})
        if value.type is not None and not isinstance(value.type, onnx_ir.TensorType):
            return ZERO
        dims = shape_of(value)
        if dims is None or value.dtype is None:
            return UNKNOWN
        key = (dims, value.dtype)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Quantity.of(*dims, max(bits_of(value.dtype) // 8, 1))
        return found

    def _inner(self, node: onnx_ir.Node, held: Iterable[tuple[str, onnx_ir.Graph]], times: Quantity, prefix: str, module: str) -> None:
        if node.op_type == "If":
            self._branches([graph for _, graph in held], times, prefix, module)
            return
        rounds = self._rounds(node)
        for _, graph in held:
            self.graph(graph, times * rounds, prefix, module)

    def _branches(self, graphs: list[onnx_ir.Graph], times: Quantity, prefix: str, module: str) -> None:
        """Of all branches the parameters, of the dearest the rest."""
        start = len(self.found)
        parts: list[list[NodeCost]] = []
        for graph in graphs:
            self.graph(graph, times, prefix, module)
            parts.append(self.found[start:])
            del self.found[start:]
        dearest = max(range(len(parts)), key=lambda i: (Quantity.sum(n.macs for n in parts[i]).at(self._size_of) or 0, len(parts[i]), -i))
        for index, part in enumerate(parts):
            kept = part if index == dearest else [_only_params(node) for node in part if node.params]
            self.found.extend(kept)

    def _rounds(self, node: onnx_ir.Node) -> Quantity:
        if node.op_type == "Scan":
            count = int_attr(node, "num_scan_inputs", 1)
            scanned = node.inputs[len(node.inputs) - count]
            dims = shape_of(scanned)
            axes = ints_attr(node, "scan_input_axes")
            if dims:
                return Quantity.of(dims[axes[0] if axes else 0])
        if node.op_type == "Loop":
            trip = contents(node.inputs[0])
            if trip and (isinstance(trip[0], int) or trip[0].value is not None) and not (isinstance(trip[0], int) and trip[0] > 2**31):
                return Quantity.of(trip[0])
        self.notes[f"{node.op_type} at %{site(node)} runs an unknown number of rounds: counted once"] = None
        return ONE

    def _call(self, node: onnx_ir.Node, times: Quantity, prefix: str, module: str) -> None:
        body = specialised(self._program, node)
        if body is None:
            return
        params = sum(self.unclaimed.pop(value, 0) for value in node.inputs if value is not None)
        start = len(self.found)
        self.graph(body, times, f"{prefix}{site(node)}/", module_of(node) or module)
        if params:
            called = f"{node.domain}::{node.op_type}"
            self.found.insert(start, NodeCost(prefix + site(node), called, module_of(node) or module, params, ZERO, ZERO, ZERO))


# ---- parts ----------------------------------------------------------------------------------------------------------


def module_of(node: onnx_ir.Node) -> str:
    """The module path that a node came from: by its provenance, else by a name such as `/encoder/layer.0/MatMul`."""
    known = node.metadata_props.get(MODULE, "")
    if known or not node.name or "/" not in node.name:
        return known
    return ".".join(part for part in node.name.split("/")[:-1] if part and not _ARTIFICIAL.fullmatch(part))


_ARTIFICIAL = re.compile(r"(Constant|Cast|Unsqueeze|Shape)(_\d+)?")


def sizes(bindings: Mapping[str, int], guesses: Mapping[str, tuple[str, ...]]) -> Callable[[Dim], int | None]:
    """A function that gives dimensions their values, each worked out once.

    A generated name that nothing binds, or one that only an output declares, is as large as the largest of what it comes from, or 1.
    """
    known: dict[Dim, int | None] = {}

    def size_of(dim: Dim) -> int | None:
        if isinstance(dim, int):
            return dim
        if dim not in known:
            names = names_in((dim,))
            missing = [name for name in names if (is_generated(name) or name in guesses) and name not in bindings]
            size = evaluate(dim, {**bindings, **{name: guess(name) for name in missing}} if missing else bindings)
            known[dim] = None if size is None else max(size, 0)
        return known[dim]

    def guess(name: str) -> int:
        parts = [size_of(onnx_ir.SymbolicDim(part)) for part in guesses.get(name, ()) if part != name]
        return max((part for part in parts if part is not None), default=1)

    return size_of


def _row(name: str, nodes: Iterable[NodeCost], size_of: Callable[[Dim], int | None]) -> CostRow:
    listed = list(nodes)
    return CostRow(
        name=name,
        nodes=len(listed),
        params=sum(node.params for node in listed),
        macs=Quantity.sum(node.macs for node in listed).at(size_of),
        bytes_read=Quantity.sum(node.bytes_read for node in listed).at(size_of),
        bytes_written=Quantity.sum(node.bytes_written for node in listed).at(size_of),
    )


def _only_params(node: NodeCost) -> NodeCost:
    return NodeCost(node.site, node.op, node.module, node.params, ZERO, ZERO, ZERO)
