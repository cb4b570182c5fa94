"""Finding the weights that can be factorized: every float constant of two axes and more is a site, or a Miss that says why not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import onnx_ir

from netwright.ir.cost.analysis import module_of
from netwright.ir.opinfo import SMALL_FLOATS, float_attr, has_references, int_attr, ints_attr, is_float, is_integer, is_standard, site
from netwright.ir.program import Program, constant
from netwright.passes.factorize.operator import Kind
from netwright.passes.factorize.sites.joint import as_one, joined
from netwright.passes.factorize.sites.site import FactorSite, Reader
from netwright.passes.factorize.sites.weights import reads_as_stored
from netwright.passes.rewrite import Miss
from netwright.passes.statistics.layers import constant_root

LEAST_ELEMENTS = 256
"""Smaller weights are not looked at: two nodes for one would cost more than they save."""


def find_factor_sites(program: Program, *, joint: bool = False, recurrent: bool = False) -> list[FactorSite | Miss]:
    """Every float constant of two axes and more: a site, or why it is none. Linear in nodes and uses.

    Args:
        program: whose main graph is searched; weights in branches, loops and functions are Misses.
        joint: join the weights of products that see the same data (`joined`); else each is a site of its own.
        recurrent: the weights that meet the state of recurrent layers are sites as well; else they are Misses.
    """
    order = {node: number for number, node in enumerate(program.graph)}
    found: list[FactorSite | Miss] = []
    for value in program.graph.initializers.values():
        tensor = constant(value)
        if tensor is None or len(tensor.shape) < 2 or not value.uses():
            continue
        if tensor.size < LEAST_ELEMENTS:
            if is_float(tensor.dtype) and any((node.op_type, index) in _SEATS for node, index, _ in _terminals(value, turned=False)):
                found.append(Miss(f"left whole: it has {tensor.size} elements, under {LEAST_ELEMENTS}", value.name or ""))
        elif is_float(tensor.dtype):
            found.append(_look(value, tensor, order, recurrent=recurrent))
        elif (reason := _quantized(value, tensor)) is not None:
            found.append(Miss(reason, value.name or ""))
    for graph in program.graphs():
        if graph is not program.graph:
            found.extend(_inside(graph))
    return _join(found) if joint else found


def _join(found: list[FactorSite | Miss]) -> list[FactorSite | Miss]:
    groups = {group[0]: group for group in joined([entry for entry in found if isinstance(entry, FactorSite)])}
    others = {member for group in groups.values() for member in group[1:]}
    return [as_one(groups[entry]) if entry in groups else entry for entry in found if entry not in others]


def _inside(graph: onnx_ir.Graph) -> Iterator[Miss]:
    for value in graph.initializers.values():
        tensor = constant(value)
        if tensor is not None and is_float(tensor.dtype) and len(tensor.shape) >= 2 and tensor.size >= LEAST_ELEMENTS:
            yield Miss("left whole: it stands inside a branch, a loop or a function; run simplify first", value.name or "")


def _quantized(value: onnx_ir.Value, tensor: onnx_ir.TensorProtocol) -> str | None:
    """Why a quantized weight is none; None of other tensors, which are no weights at all."""
    if not (is_integer(tensor.dtype) or tensor.dtype in SMALL_FLOATS):
        return None
    node = next((use.node for use in value.uses() if _QUANTIZED.fullmatch(use.node.op_type)), None)
    return None if node is None else f"left whole: it is quantized ({node.op_type} %{site(node)} reads it); factorize before quantize"


_QUANTIZED = re.compile(r"DequantizeLinear|MatMulNBits|GatherBlockQuantized|(QLinear|DynamicQuantize)\w+|\w+Integer(ToFloat)?")
"""Operators that read quantized weights."""


def _look(value: onnx_ir.Value, tensor: onnx_ir.TensorProtocol, order: Mapping[onnx_ir.Node, int], *, recurrent: bool) -> FactorSite | Miss:
    name, shape = value.name or "", tuple(int(size) for size in tensor.shape.numpy())
    if value.is_graph_output():
        return Miss("left whole: it is an output of the graph", name)
    readers: list[Reader] = []
    for node, index, turned in _terminals(value, turned=False):
        if node not in order:
            return Miss(f"left whole: {node.op_type} %{site(node)} reads it inside a branch, a loop or a function", name)
        reader = _reader(node, index, shape, turned=turned)
        if isinstance(reader, str):
            return Miss(f"left whole: {node.op_type} %{site(node)} {reader}", name)
        if reader.kind == "state" and not recurrent:
            return Miss(f"left whole: it meets the state of {node.op_type} %{site(node)}; recurrent=True factorizes such weights", name)
        readers.append(reader)
    readers.sort(key=lambda reader: order[reader.node])
    kinds = {reader.kind for reader in readers}
    kind: Kind = "linear" if kinds == {"linear", "table"} else readers[0].kind
    reason = "its readers take it for different things" if len(kinds - {"table"}) > 1 else _disagreement(kind, readers)
    if reason is not None:
        return Miss(f"left whole: {reason} ({', '.join(f'%{site(reader.node)}' for reader in readers)})", name)
    groups = shape[0] if kind == "state" else int_attr(readers[0].node, "group", 1) if kind in ("conv", "deconv") else 1
    known = _operator_shape(shape, kind, next(reader for reader in readers if reader.kind == kind))
    modules = tuple(dict.fromkeys(path for reader in readers if (path := module_of(reader.node))))
    rows = (0, _outputs(known, kind, groups))
    return FactorSite(
        kind,
        (value,),
        tuple(Reader(reader.node, reader.index, rows, reader.kind) for reader in readers),
        groups,
        known,
        modules,
    )


def _terminals(value: onnx_ir.Value, *, turned: bool) -> Iterator[tuple[onnx_ir.Node, int, bool]]:
    """The nodes that read a weight in the end, behind Identities and transposing Transposes; whether it is transposed there."""
    for use in value.uses():
        node = use.node
        whole = is_standard(node, "Identity") or (is_standard(node, "Transpose") and ints_attr(node, "perm", (1, 0)) == (1, 0))
        if whole and node.graph is value.graph and not has_references(node) and not node.outputs[0].is_graph_output():
            yield from _terminals(node.outputs[0], turned=turned != (node.op_type == "Transpose"))
        else:
            yield node, use.idx, turned


_STRANGE = "reads it, which is no layer with weights"


def _reader(node: onnx_ir.Node, index: int, shape: tuple[int, ...], *, turned: bool) -> Reader | str:
    """The node as a reader of a weight of this shape, or why it is none, as a predicate."""
    kinds = _SEATS.get((node.op_type, index)) if is_standard(node) and not has_references(node) else None
    if kinds is None:
        if is_standard(node, "DynamicQuantizeLinear", "QuantizeLinear"):
            return "quantizes it; factorize before quantize"
        if is_standard(node, "GRU", "LSTM", "RNN"):
            return "reads it as a bias or a state"
        return "reads it as a bias" if is_standard(node, "Gemm", "Conv", "ConvTranspose") and index == 2 else _STRANGE
    kind, rank = kinds
    if rank and len(shape) != rank:
        return f"reads it with {len(shape)} axes: {'several matrices' if kind == 'linear' else 'entries are no vectors'}"
    if kind == "linear":
        return _product(node, index)
    if turned:
        return "reads it behind a Transpose; run simplify first"
    if kind == "table":
        return Reader(node, index, (0, 0), kind) if int_attr(node, "axis", 0) % 2 == 0 else "looks up along its second axis"
    if constant(node.inputs[0]) is not None:
        return "has constant data; run simplify first"
    groups = int_attr(node, "group", 1)
    if kind in ("conv", "deconv") and groups > 1 and shape[1] == 1 and (kind == "conv" or shape[0] == groups):
        return f"is depthwise ({groups} groups of one channel): there is nothing to factorize"
    return Reader(node, index, (0, 0), kind)


def _product(node: onnx_ir.Node, index: int) -> Reader | str:
    data = node.inputs[1 - index]
    if constant_root(data)[0] is not None:
        return "multiplies it with another constant; run simplify first"
    if node.op_type == "Gemm" and float_attr(node, "alpha", 1.0) == 0.0:
        return "multiplies it by an alpha of 0"
    return Reader(node, index, (0, 0), "linear")


_SEATS: Mapping[tuple[str, int], tuple[Kind, int]] = {
    ("Conv", 1): ("conv", 0),
    ("ConvTranspose", 1): ("deconv", 0),
    ("Gather", 0): ("table", 2),
    ("Gemm", 0): ("linear", 2),
    ("Gemm", 1): ("linear", 2),
    ("MatMul", 0): ("linear", 2),
    ("MatMul", 1): ("linear", 2),
    **{(name, 1): ("recurrent", 3) for name in ("GRU", "LSTM", "RNN")},
    **{(name, 2): ("state", 3) for name in ("GRU", "LSTM", "RNN")},
}
"""By operator and number of the input: what a weight there is, and how many axes it has (0 for any)."""


def _disagreement(kind: Kind, readers: list[Reader]) -> str | None:
    """Why several readers are not of one operator."""
    if kind == "linear" and len({reads_as_stored(reader) for reader in readers if reader.kind == "linear"}) > 1:
        return "some readers multiply with it, others with its transpose"
    if kind in ("conv", "deconv") and len({int_attr(reader.node, "group", 1) for reader in readers}) > 1:
        return "its readers have different numbers of groups"
    return None


def _operator_shape(shape: tuple[int, ...], kind: Kind, reader: Reader) -> tuple[int, ...]:
    if kind in ("linear", "table"):
        return shape if reads_as_stored(reader) else (shape[1], shape[0])
    return (shape[0] * shape[1], shape[2]) if kind in ("recurrent", "state") else shape


def _outputs(shape: tuple[int, ...], kind: Kind, groups: int) -> int:
    return shape[1] * groups if kind == "deconv" else shape[0]
