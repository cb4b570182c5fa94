"""Products that no lowering takes: each is a Miss that says why, and what would bring it onto arrays."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

import onnx_ir

from netwright.backends.cim.ops.schemas import DOMAIN
from netwright.ir.cost.macs import MACS
from netwright.ir.operators import DOMAINS
from netwright.ir.opinfo import int_attr, is_standard, site, str_attr, subgraphs
from netwright.ir.program import Program
from netwright.ir.schemas import CONTRIB_DOMAIN
from netwright.passes.rewrite import Miss

_STATIC = "quantize(scheme='static')"
_BEYOND = frozenset({"GatherMatMul", "MatMulBnb4", "MoE", "QMoE", "QOrderedAttention", "QOrderedMatMul"})
"""Products of ONNX Runtime's that nobody counts."""
_MAIN_ONLY = "; arrays take products of the main graph"
_WAYS = {
    "If": "simplify inlines a branch whose condition is constant",
    "Scan": "write its steps out in the model, or run unroll before quantize where it was an LSTM, GRU or RNN",
}


def _recurrent(node: onnx_ir.Node) -> str:
    return f"{node.op_type} is a whole recurrent layer; arrays take its products written out: run unroll first, then {_STATIC}"


def _einsum(node: onnx_ir.Node) -> str:
    operands = f"{len(node.inputs)} operands, {str_attr(node, 'equation', '')}"
    return f"Einsum of {operands}: only MatMul, Gemm and Conv are quantized for arrays; write it as MatMul in the model"


def _attention(node: onnx_ir.Node) -> str:
    domain = "an opset below 23" if is_standard(node) else "a model that ONNX Runtime has not fused"
    return f"{node.op_type} has its products inside, of computed values; arrays take MatMul between grids: use {domain}, then {_STATIC}"


def _blocks(node: onnx_ir.Node) -> str:
    size, bits = int_attr(node, "block_size", 0), int_attr(node, "bits", 4)
    what = f"weights of {bits} bits with a scale for each {size} rows" if size else "weights in blocks with a scale each"
    return f"{node.op_type}: {what}, and a column has one: quantize the float model with {_STATIC}"


def _whole_quantized(node: onnx_ir.Node) -> str:
    return f"{node.op_type} is ONNX Runtime's own form of quantized products: quantize the float model with {_STATIC}"


def _fused(node: onnx_ir.Node) -> str:
    return f"{node.op_type} is ONNX Runtime's own fusion: use the model as it was before, and quantize it with {_STATIC}"


def _conv_transpose(node: onnx_ir.Node) -> str:
    strides = "×".join(map(str, node.attributes.get_ints("strides", ())))
    spread = f", stride {strides}," if strides else ""
    return (
        f"ConvTranspose{spread} adds overlapping windows up where it writes, and arrays sum what they read: "
        f"in its place use Resize and Conv, or Conv and DepthToSpace, and {_STATIC}"
    )


def _deformed(node: onnx_ir.Node) -> str:
    return f"{node.op_type} reads at computed places: windows in arrays are the same for every sample; use Conv"


_REASONS: Mapping[str, Callable[[onnx_ir.Node], str]] = {
    **dict.fromkeys(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"), _recurrent),
    **dict.fromkeys(("Attention", "GroupQueryAttention", "MultiHeadAttention", "QAttention", "QOrderedAttention"), _attention),
    **dict.fromkeys(("MatMulBnb4", "MatMulNBits", "QMoE"), _blocks),
    "ConvTranspose": _conv_transpose,
    "DeformConv": _deformed,
    "Einsum": _einsum,
    **dict.fromkeys(("DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QGemm", "QLinearConv", "QOrderedMatMul"), _whole_quantized),
}


def left_over(program: Program, lowered: Collection[str]) -> Iterator[Miss]:
    """A miss for every product that stays where it is. Linear in nodes.

    Args:
        program: after lowering.
        lowered: standard operators of the main graph of which lowering itself tells.
    """
    for node in program.graph:
        if _is_product(node) and not (is_standard(node) and node.op_type in lowered):
            yield Miss(_REASONS.get(node.op_type, _fused)(node), site(node))
        for _, body in subgraphs(node):
            yield from _inside(body, _holder(node))
    for function in program.model.functions.values():
        if function.domain not in DOMAINS:
            yield from _inside(function.graph, f"the function {function.name}{_MAIN_ONLY}: run simplify first, which inlines functions")


def _inside(graph: onnx_ir.Graph, where: str) -> Iterator[Miss]:
    for node in graph.all_nodes():
        if _is_product(node):
            yield Miss(f"{node.op_type} stands inside {where}", site(node))


def _holder(node: onnx_ir.Node) -> str:
    """What holds a body, and how it would be opened."""
    return f"the body of the {node.op_type} %{site(node)}{_MAIN_ONLY}: {_WAYS.get(node.op_type, 'write its steps out in the model')}"


def _is_product(node: onnx_ir.Node) -> bool:
    """True of nodes that multiply and sum, but for those already on arrays."""
    if node.domain == DOMAIN:
        return False
    if is_standard(node):
        return ("", node.op_type) in MACS and not (node.op_type == "Einsum" and len(node.inputs) < 2)
    return (node.domain, node.op_type) in MACS or (node.domain == CONTRIB_DOMAIN and node.op_type in _BEYOND)
