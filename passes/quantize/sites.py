"""Where a model can be quantized (constant weights of products, convolutions, tables, recurrent layers), and what speaks against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Literal

import onnx_ir

from netwright.ir.program import Program, constant
from netwright.passes.quantize.grus import NO_GRU, gru_obstacle
from netwright.passes.quantize.thresholds import CONVOLUTION
from netwright.passes.rewrite import Miss, site_of

Kind = Literal["linear", "conv", "table", "lstm", "gru", "pair"]

GATES: Mapping[str, int] = MappingProxyType({"lstm": 4, "gru": 3})
"""Kinds of recurrent layers, and how many gates each has."""

FLOATS = frozenset({onnx_ir.DataType.FLOAT, onnx_ir.DataType.FLOAT16, onnx_ir.DataType.BFLOAT16})
"""Weights of these types are quantized; a float64 model is left alone, for its author wanted the precision."""

QUANTIZED_OPS = frozenset(
    {
        "ConvInteger", "DequantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "GatherBlockQuantized",
        "MatMulBnb4", "MatMulInteger", "MatMulIntegerToFloat", "MatMulNBits", "QAttention", "QGemm", "QLinearConv", "QLinearMatMul",
        "QMoE", "QOrderedMatMul", "QuantizeLinear",
    }
)  # fmt: skip
"""Operators that show that a model is already quantized."""

_LEFT_FLOAT: Mapping[str, str] = MappingProxyType(
    {
        "ConvTranspose": "left float: ONNX Runtime has no integer kernel for ConvTranspose",
        "RNN": "left float: ONNX Runtime has no integer kernel for RNN",
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """One node that can be quantized.

    Attributes:
        node: MatMul, Gemm, Conv, Gather, LSTM or GRU.
        kind: which of the treatments it gets; a `pair` is a MatMul of two activations.
        weights: the constants that become integers: one, or W and R of an LSTM or a GRU; none of a pair.
        rows: input channels of a product, weights of a convolution's output channel, entries of a table, inputs of an LSTM or GRU.
        columns: output channels of a product or convolution, width of a table, hidden units of an LSTM or GRU. Both are 0 of a pair.
        transposed: a product that reads its weight as [columns, rows]: Gemm with transB, or behind a Transpose.
    """

    node: onnx_ir.Node
    kind: Kind
    weights: tuple[onnx_ir.Value, ...]
    rows: int
    columns: int
    transposed: bool = False

    @property
    def name(self) -> str:
        """The site's name: that of the node's first output."""
        return site_of(self.node)

    @property
    def elements(self) -> int:
        """Elements of its weights, for one direction of an LSTM or GRU."""
        gates = GATES.get(self.kind)
        return self.rows * self.columns if gates is None else gates * self.columns * (self.rows + self.columns)


def quantized_nodes(program: Program) -> list[onnx_ir.Node]:
    """Nodes that show that the program is already quantized."""
    return list(program.nodes(*QUANTIZED_OPS))


def find_sites(program: Program, *, convolutions: bool = False, grus: bool = False, pairs: bool = False) -> Iterator[Site | Miss]:
    """Every node that holds weights, in graph order: a site, or why it cannot be one. Linear in nodes.

    Args:
        program: looked at only.
        convolutions: whether they can be sites, as for static quantization; else each is a miss.
        grus: whether they can be sites; else each is a miss.
        pairs: whether products of two activations can be sites; else each is a miss.
    """
    for graph in (program.graph, *program.graph.subgraphs()):
        for node in graph:
            found = _look(node, convolutions, grus, pairs)
            if found is not None:
                yield found
    for function in program.model.functions.values():
        for node in function.graph.all_nodes():
            found = _look(node, convolutions, grus, pairs)
            if isinstance(found, Site):
                yield Miss(f"left float: it stands inside the function {function.name}; inline the function first", found.name)
            elif found is not None:
                yield found


def _look(node: onnx_ir.Node, convolutions: bool, grus: bool, pairs: bool) -> Site | Miss | None:
    if node.domain:
        return None
    match node.op_type:
        case "MatMul":
            return _matmul(node, pairs)
        case "Gemm":
            return _gemm(node)
        case "Conv":
            return _convolution(node) if convolutions else Miss(CONVOLUTION, site_of(node))
        case "Gather":
            return _gather(node)
        case "LSTM":
            return _recurrent(node, "lstm")
        case "GRU":
            return _recurrent(node, "gru") if grus else Miss(f"left float: {NO_GRU}", site_of(node))
        case _:
            reason = _LEFT_FLOAT.get(node.op_type)
            return Miss(reason, site_of(node)) if reason is not None else None


def _matmul(node: onnx_ir.Node, pairs: bool) -> Site | Miss | None:
    left, right = node.inputs
    root, transposed = _root(right)
    if root is None:
        if constant(left) is not None:
            return _float_only(left, Miss(f"left float: the weight {_shown(left)} stands on the left", site_of(node)))
        found = _float_only(right, Miss(f"left float: both operands, {_shown(left)} and {_shown(right)}, are computed", site_of(node)))
        return Site(node, "pair", (), 0, 0) if pairs and found is not None else found
    return _product(node, root, transposed)


def _gemm(node: onnx_ir.Node) -> Site | Miss | None:
    weight = node.inputs[1]
    root, transposed = _root(weight)
    if root is None:
        return _float_only(weight, Miss(f"left float: the weight {_shown(weight)} is not constant", site_of(node)))
    return _product(node, root, transposed != (node.attributes.get_int("transB", 0) == 1))


def _product(node: onnx_ir.Node, weight: onnx_ir.Value, transposed: bool) -> Site | Miss | None:
    tensor = constant(weight)
    assert tensor is not None
    problem = _unfit(weight, tensor, 2)
    if problem is not None:
        return _float_only(weight, Miss(problem, site_of(node)))
    first, second = (int(size) for size in tensor.shape)  # type: ignore[arg-type]
    rows, columns = (second, first) if transposed else (first, second)
    return Site(node, "linear", (weight,), rows, columns, transposed)


def _convolution(node: onnx_ir.Node) -> Site | Miss | None:
    weight = node.inputs[1]
    tensor = constant(weight)
    if weight is None or tensor is None:
        return _float_only(weight, Miss(f"left float: the weight {_shown(weight)} is not constant", site_of(node)))
    problem = _unfit(weight, tensor, max(3, len(tensor.shape)))
    if problem is not None:
        return Miss(problem, site_of(node))
    outputs, *features = (int(size) for size in tensor.shape)  # type: ignore[arg-type]
    return Site(node, "conv", (weight,), prod(features), outputs)


def _gather(node: onnx_ir.Node) -> Site | Miss | None:
    table = node.inputs[0]
    tensor = constant(table)
    if table is None or tensor is None or tensor.dtype not in FLOATS or len(tensor.shape) != 2:
        return None
    entries, width = (int(size) for size in tensor.shape)  # type: ignore[arg-type]
    if node.attributes.get_int("axis", 0) % 2 != 0:
        return Miss(f"left float: it takes columns, not rows, of {_shown(table)}", site_of(node))
    return Site(node, "table", (table,), entries, width)


def _recurrent(node: onnx_ir.Node, kind: Literal["lstm", "gru"]) -> Site | Miss | None:
    weights = node.inputs[1:3]
    for weight in weights:
        tensor = constant(weight)
        if weight is None or tensor is None:
            hint = (
                "; run simplify first, which folds weights that nodes assemble"
                if weight is not None and weight.producer() is not None
                else ""
            )
            return Miss(f"left float: the weight {_shown(weight)} is not constant{hint}", site_of(node))
        problem = _unfit(weight, tensor, 3)
        if problem is not None:
            return Miss(problem, site_of(node))
        if tensor.dtype != onnx_ir.DataType.FLOAT:
            taker = "DynamicQuantizeLSTM takes" if kind == "lstm" else "integer products in a Scan take"
            return Miss(f"left float: {taker} float32, and {_shown(weight)} is {tensor.dtype.name.lower()}", site_of(node))
    obstacle = gru_obstacle(node) if kind == "gru" else None
    if kind == "lstm" and node.attributes.get_int("layout", 0) != 0:
        obstacle = "left float: DynamicQuantizeLSTM has no batch-first layout"
    if obstacle is not None:
        return Miss(obstacle, site_of(node))
    inputs, hidden = (int(constant(weight).shape[2]) for weight in weights)  # type: ignore[union-attr, arg-type]
    return Site(node, kind, tuple(w for w in weights if w is not None), inputs, hidden)


def _root(value: onnx_ir.Value | None) -> tuple[onnx_ir.Value | None, bool]:
    """The constant behind a weight and whether it is read as its transpose; None where it is computed."""
    if value is None:
        return None, False
    if constant(value) is not None:
        return value, False
    node = value.producer()
    if node is None or node.op_type != "Transpose" or node.domain or constant(node.inputs[0]) is None:
        return None, False
    perm = list(node.attributes.get_ints("perm", ()))
    shape = constant(node.inputs[0]).shape  # type: ignore[union-attr]
    return (node.inputs[0], True) if len(shape) == 2 and perm in ([], [1, 0]) else (None, False)


def _unfit(weight: onnx_ir.Value, tensor: onnx_ir.TensorProtocol, rank: int) -> str | None:
    if len(tensor.shape) != rank:
        return f"left float: the weight {_shown(weight)} has {len(tensor.shape)} dimensions, and {rank} are handled"
    if tensor.dtype not in FLOATS:
        return f"left float: the weight {_shown(weight)} is {tensor.dtype.name.lower()}; float32, float16 and bfloat16 are handled"
    if tensor.size == 0:
        return f"left float: the weight {_shown(weight)} is empty"
    return None


def _float_only(value: onnx_ir.Value | None, miss: Miss) -> Miss | None:
    """The miss, unless the value is known to be of integers (shape arithmetic)."""
    dtype = value.dtype if value is not None else None
    return None if dtype is not None and not dtype.is_floating_point() else miss


def _shown(value: onnx_ir.Value | None) -> str:
    return f"%{value.name}" if value is not None else "(none)"
