"""Which tensors of a program are weights of layers, along which axes their rows lie, and which of them are the head.

A row is what one scale serves: an output channel of a product, an entry of a table, a gate's unit of a recurrent layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import onnx_ir

from netwright.ir.ledger import Miss
from netwright.ir.opinfo import DATA_MOVEMENT, ELEMENTWISE_BINARY, ELEMENTWISE_UNARY, int_attr, ints_attr, is_float, site
from netwright.ir.origin import origin_of
from netwright.ir.program import Program, constant
from netwright.passes.planning import first_match

Kind = Literal["linear", "conv", "table", "recurrent"]

LEAST_ELEMENTS = 256
"""Tensors of fewer elements stay as they are: their scales would cost as much as they save."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A node that reads a weight, perhaps through Transposes.

    Attributes:
        node: such as MatMul.
        index: which of its inputs the weight is.
        perm: the weight's axes in the order in which the node sees them.
        kind: what it takes it for.
        rows: axes of the weight, as stored, along which rows lie.
    """

    node: onnx_ir.Node
    index: int
    perm: tuple[int, ...]
    kind: Kind
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WeightSite:
    """An initializer that layers read as their weight.

    Attributes:
        value: the initializer.
        readers: in graph order.
        rows: axes along which rows lie; none where readers disagree.
    """

    value: onnx_ir.Value
    readers: tuple[Reader, ...]
    rows: tuple[int, ...]

    @property
    def name(self) -> str:
        """The initializer's name."""
        return self.value.name or ""

    @property
    def kind(self) -> Kind:
        """What its first reader takes it for."""
        return self.readers[0].kind

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        tensor = self.value.const_value
        return () if tensor is None else tuple(int(size) for size in tensor.shape.numpy())

    @property
    def modules(self) -> tuple[str, ...]:
        """Paths of the modules that its readers came from, where known."""
        return tuple(path for reader in self.readers if (path := origin_of(reader.node).module))


@dataclass(frozen=True, slots=True)
class Weights:
    """All weights of a program.

    Attributes:
        sites: those that can be compressed.
        misses: tensors of two dimensions and more that are left alone, with reasons.
        vectors: how many float vectors and numbers (biases, norms) there are; they are never compressed.
    """

    sites: tuple[WeightSite, ...]
    misses: tuple[Miss, ...]
    vectors: int


def find_weights(program: Program, *, head: bool = False, where: Sequence[str] = (), exclude: Sequence[str] = ()) -> Weights:
    """The weights of the main graph's layers. Linear in nodes and uses.

    Args:
        program: read only.
        head: count the head, the last layer before an output, as well.
        where: patterns of tensors or modules; none means all.
        exclude: patterns of those left alone.
    """
    heads = frozenset[onnx_ir.Node]() if head else head_nodes(program)
    sites: list[WeightSite] = []
    misses: list[Miss] = []
    vectors = 0
    for value in program.graph.initializers.values():
        tensor = constant(value)
        if tensor is None or not is_float(tensor.dtype) or not value.uses():
            continue
        if len(tensor.shape) < 2:
            vectors += 1
            continue
        found = _site(value, tensor)
        if isinstance(found, WeightSite):
            reason = _left_alone(found, tensor, heads, where, exclude)
            found = found if reason is None else Miss(reason, found.name)
        if isinstance(found, WeightSite):
            sites.append(found)
        elif found is not None:
            misses.append(found)
    misses.extend(_inside_subgraphs(program))
    return Weights(tuple(sites), tuple(misses), vectors)


def head_nodes(program: Program) -> frozenset[onnx_ir.Node]:
    """The last layer before each output, where one computed value alone leads from it to the output.

    An output that is a normalised sum, the hidden state of an encoder say, has none.
    """
    found: set[onnx_ir.Node] = set()
    for output in program.graph.outputs:
        value: onnx_ir.Value | None = output
        while value is not None and (node := value.producer()) is not None:
            if _weight_seats(node):
                found.add(node)
                break
            value = _only_computed(node)
    return frozenset(found)


_PLAIN = (
    ELEMENTWISE_UNARY
    | ELEMENTWISE_BINARY
    | {"Flatten", "LogSoftmax", "Reshape", "Slice", "Softmax", "Split", "Squeeze", "Transpose", "Unsqueeze"}
)


def _only_computed(node: onnx_ir.Node) -> onnx_ir.Value | None:
    """The one input of a plain node that is computed from data; None where there are several, or the node is not plain."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in _PLAIN:
        return None
    first = node.inputs[0] if node.inputs else None
    if node.op_type not in ELEMENTWISE_BINARY:
        return first
    computed = [value for value in node.inputs if value is not None and constant(value) is None]
    return computed[0] if len(computed) == 1 else None


# ---- readers --------------------------------------------------------------------------------------------------------


def _site(value: onnx_ir.Value, tensor: onnx_ir.TensorProtocol) -> WeightSite | Miss | None:
    name, rank = value.name or "", len(tensor.shape)
    readers: list[Reader] = []
    strangers: list[onnx_ir.Node] = []
    for node, index, perm in _terminals(value, tuple(range(rank))):
        reader = _reader(node, index, perm)
        if reader is None:
            strangers.append(node)
        else:
            readers.append(reader)
    if not readers:
        return _no_layer(name, tensor, strangers)
    if strangers:
        first = strangers[0]
        return Miss(f"left float: {first.op_type} %{site(first)} reads it too, which takes no weights", name)
    if value.is_graph_output():
        return Miss("left float: it is an output of the graph", name)
    rows = {reader.rows for reader in readers}
    return WeightSite(value, tuple(readers), rows.pop() if len(rows) == 1 else ())


def _no_layer(name: str, tensor: onnx_ir.TensorProtocol, strangers: Sequence[onnx_ir.Node]) -> Miss | None:
    if tensor.size < LEAST_ELEMENTS or not strangers:
        return None
    first = strangers[0]
    if first.op_type in _SEATS and not first.domain:
        return Miss(f"left float: {first.op_type} %{site(first)} reads it as a bias or a state", name)
    if first.op_type in DATA_MOVEMENT:
        return Miss(f"left float: {first.op_type} %{site(first)} takes it apart before a layer reads it; run simplify first", name)
    return Miss(f"left float: {first.op_type} %{site(first)} reads it, which is no layer with weights", name)


def _terminals(value: onnx_ir.Value, perm: tuple[int, ...]) -> Iterator[tuple[onnx_ir.Node, int, tuple[int, ...]]]:
    """The nodes that read a value in the end, behind Transposes and Identities, and in what order of axes."""
    for use in value.uses():
        node, index = use.node, use.idx
        if node.graph is not value.graph:
            yield node, index, perm
        elif node.op_type == "Transpose" and not node.domain:
            order = ints_attr(node, "perm") or tuple(reversed(range(len(perm))))
            yield from _terminals(node.outputs[0], tuple(perm[axis] for axis in order))
        elif node.op_type == "Identity" and not node.domain:
            yield from _terminals(node.outputs[0], perm)
        else:
            yield node, index, perm


def _reader(node: onnx_ir.Node, index: int, perm: tuple[int, ...]) -> Reader | None:
    seats = _weight_seats(node, rank=len(perm))
    found = seats.get(index)
    if found is None:
        return None
    kind, rows = found
    return Reader(node, index, perm, kind, tuple(sorted(perm[axis] for axis in rows)))


_Seat = tuple[Kind, tuple[int, ...]]


def _weight_seats(node: onnx_ir.Node, rank: int | None = None) -> Mapping[int, _Seat]:
    """Which inputs of a node are weights, of what kind, and along which axes their rows lie.

    With a rank, only what a weight of that rank can be; without, only inputs behind which a constant stands.
    """
    find = _SEATS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if find is None:
        return {}
    if rank is not None:
        return find(node, rank)
    constants = {index: _constant_rank(value) for index, value in enumerate(node.inputs)}
    return {index: seat for index, known in constants.items() if known is not None and (seat := find(node, known).get(index)) is not None}


def _constant_rank(value: onnx_ir.Value | None) -> int | None:
    while value is not None and constant(value) is None:
        node = value.producer()
        if node is None or node.domain or node.op_type not in ("Transpose", "Identity"):
            return None
        value = node.inputs[0]
    tensor = constant(value)
    return None if tensor is None else len(tensor.shape)


def _matmul(node: onnx_ir.Node, rank: int) -> Mapping[int, _Seat]:
    """[in, out]; on the left [out, in]; of several experts [experts, in, out], a scale each."""
    if rank > 2:
        return {1: ("linear", (0,)), 0: ("linear", (0,))}
    return {1: ("linear", (1,)), 0: ("linear", (0,))} if rank == 2 else {}


def _gemm(node: onnx_ir.Node, rank: int) -> Mapping[int, _Seat]:
    right = 0 if int_attr(node, "transB", 0) else 1
    left = 1 if int_attr(node, "transA", 0) else 0
    return {1: ("linear", (right,)), 0: ("linear", (left,))} if rank == 2 else {}


def _conv(node: onnx_ir.Node, rank: int) -> Mapping[int, _Seat]:
    return {1: ("conv", (0,))} if rank >= 3 else {}


def _conv_transpose(node: onnx_ir.Node, rank: int) -> Mapping[int, _Seat]:
    return {1: ("conv", (1,))} if rank >= 3 else {}


def _gather(node: onnx_ir.Node, rank: int) -> Mapping[int, _Seat]:
    return {0: ("table", (0,))} if rank == 2 and int_attr(node, "axis", 0) % 2 == 0 else {}


def _recurrent(node: onnx_ir.Node, rank: int) -> Mapping[int, _Seat]:
    """[directions, gates, inputs]."""
    return {1: ("recurrent", (0, 1)), 2: ("recurrent", (0, 1))} if rank == 3 else {}


_SEATS: Mapping[str, Callable[[onnx_ir.Node, int], Mapping[int, _Seat]]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "GRU": _recurrent,
    "Gather": _gather,
    "Gemm": _gemm,
    "LSTM": _recurrent,
    "MatMul": _matmul,
    "RNN": _recurrent,
}


# ---- what is left alone ---------------------------------------------------------------------------------------------


def _left_alone(
    found: WeightSite, tensor: onnx_ir.TensorProtocol, heads: frozenset[onnx_ir.Node], where: Sequence[str], exclude: Sequence[str]
) -> str | None:
    names = (found.name, *found.modules)
    pattern = first_match(exclude, names)
    if pattern is not None:
        return f"left float: exclude names it ('{pattern}')"
    if where and first_match(where, names) is None:
        return "left float: no pattern of where names it"
    if tensor.size < LEAST_ELEMENTS:
        return f"left float: it has {tensor.size} elements, under {LEAST_ELEMENTS}"
    last = next((reader.node for reader in found.readers if reader.node in heads), None)
    if last is not None:
        tied = "" if len(found.readers) == 1 else ", tied to other layers"
        return f"left float: it is the head, the last layer before an output ({last.op_type} %{site(last)}{tied}); head=True compresses it"
    return None


def _inside_subgraphs(program: Program) -> Iterator[Miss]:
    for graph in program.graphs():
        if graph is program.graph:
            continue
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is not None and is_float(tensor.dtype) and len(tensor.shape) >= 2 and tensor.size >= LEAST_ELEMENTS:
                yield Miss("left float: it stands inside a branch, a loop or a function; run simplify first", value.name or "")
