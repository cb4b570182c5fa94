"""Multiply-accumulates of one node, by operator; operators without a row multiply no matrices and count as none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import onnx_ir

from netwright.ir.cost.quantity import UNKNOWN, ZERO, Quantity
from netwright.ir.dims import Dim, add, shape_of
from netwright.ir.opinfo import int_attr, str_attr
from netwright.ir.schemas import CONTRIB_DOMAIN

Rule: TypeAlias = Callable[[onnx_ir.Node], Quantity]


def macs(node: onnx_ir.Node) -> Quantity:
    """Multiply-accumulates of one run of a node; unknown where the shapes are."""
    rule = MACS.get((node.domain, node.op_type))
    return rule(node) if rule else ZERO


def dims(node: onnx_ir.Node, index: int) -> Sequence[Dim] | None:
    """Dimensions of an input; None where it is absent or its rank unknown."""
    return shape_of(node.inputs[index]) if index < len(node.inputs) else None


def result(node: onnx_ir.Node) -> Sequence[Dim] | None:
    """Dimensions of the first output."""
    return shape_of(node.outputs[0])


def _matmul(node: onnx_ir.Node) -> Quantity:
    """Elements of the product × the dimension summed over."""
    a, y = dims(node, 0), result(node)
    if not a or y is None:
        return UNKNOWN
    inner = a[0] if int_attr(node, "transBatchA", 0) else a[-2] if int_attr(node, "transA", 0) and len(a) > 1 else a[-1]
    return Quantity.of(*y, inner)


def _matmul_n_bits(node: onnx_ir.Node) -> Quantity:
    y = result(node)
    return UNKNOWN if y is None else Quantity.of(*y, int_attr(node, "K", 0))


def _conv(weight: int) -> Rule:
    """Elements of the output × weights of one output channel; W: [out, in / group, …]."""

    def count(node: onnx_ir.Node) -> Quantity:
        w, y = dims(node, weight), result(node)
        return UNKNOWN if w is None or y is None else Quantity.of(*y, *w[1:])

    return count


def _conv_transpose(node: onnx_ir.Node) -> Quantity:
    """Elements of the input × weights of one input channel; W: [in, out / group, …]."""
    x, w = dims(node, 0), dims(node, 1)
    return UNKNOWN if x is None or w is None else Quantity.of(*x, *w[1:])


def _recurrent(node: onnx_ir.Node) -> Quantity:
    """Steps × batch × weights; X: [seq, batch, in] (or batch first), W and R: all gates of all directions."""
    x, w, r = dims(node, 0), dims(node, 1), dims(node, 2)
    if x is None or w is None or r is None:
        return UNKNOWN
    return Quantity.of(*x[:2]) * (Quantity.of(*w) + Quantity.of(*r))


def _attention(node: onnx_ir.Node) -> Quantity:
    """Scores and weighted sum: (elements of Q + elements of Y) × keys; Q: [batch, queries, heads · size] or with heads apart."""
    q, k, y = dims(node, 0), dims(node, 1), result(node)
    if q is None or k is None or y is None:
        return UNKNOWN
    keys = k[-2]
    past = dims(node, 4)
    return (Quantity.of(*q) + Quantity.of(*y)) * Quantity.of(keys if past is None else add(keys, past[-2]))


def _multi_head_attention(node: onnx_ir.Node) -> Quantity:
    """As Attention; queries, keys and values may be packed in one input [batch, seq, heads, 3, size]."""
    q, y = dims(node, 0), result(node)
    k = dims(node, 1) or (None if q is None else (*q[:2], 1))
    if q is None or k is None or y is None:
        return UNKNOWN
    keys = k[1] if len(k) == 3 else k[-2]
    past = dims(node, 6)
    return Quantity.of(*y, 2) * Quantity.of(keys if past is None else add(keys, past[-2]))


def _fused_attention(node: onnx_ir.Node) -> Quantity:
    """Projection of X: [batch, seq, in] by weights [in, 3 · hidden], then attention."""
    x, w, y = dims(node, 0), dims(node, 1), result(node)
    if x is None or w is None or y is None:
        return UNKNOWN
    return Quantity.of(*x[:-1]) * Quantity.of(*w) + Quantity.of(*y, 2) * Quantity.of(x[1])


def _grouped_attention(node: onnx_ir.Node) -> Quantity:
    """As Attention, over the cache with the new keys where its length is known."""
    y = result(node)
    present = shape_of(node.outputs[1]) if len(node.outputs) > 1 and node.outputs[1].name else None
    keys = present[-2] if present is not None else (y[1] if y is not None else None)
    return UNKNOWN if y is None or keys is None else Quantity.of(*y, 2, keys)


def _einsum(node: onnx_ir.Node) -> Quantity:
    """The product of all indices' ranges, where two or more operands multiply."""
    if len(node.inputs) < 2:
        return ZERO
    operands = str_attr(node, "equation", "").replace(" ", "").partition("->")[0].split(",")
    ranges: dict[str, Dim] = {}
    for labels, index in zip(operands, range(len(node.inputs)), strict=False):
        shape = dims(node, index)
        if shape is None:
            return UNKNOWN
        before, dots, after = labels.partition("...")
        middle = len(shape) - len(before) - len(after)
        spread = [*before, *(f".{middle - i}" for i in range(middle)), *after] if dots else list(labels)
        for label, dim in zip(spread, shape, strict=False):
            if ranges.get(label, 1) == 1:
                ranges[label] = dim
    return Quantity.of(*ranges.values())


MACS: Mapping[tuple[str, str], Rule] = {
    ("", "MatMul"): _matmul,
    ("", "MatMulInteger"): _matmul,
    ("", "QLinearMatMul"): _matmul,
    ("", "Gemm"): _matmul,
    ("", "Conv"): _conv(1),
    ("", "ConvInteger"): _conv(1),
    ("", "DeformConv"): _conv(1),
    ("", "QLinearConv"): _conv(3),
    ("", "ConvTranspose"): _conv_transpose,
    ("", "LSTM"): _recurrent,
    ("", "GRU"): _recurrent,
    ("", "RNN"): _recurrent,
    ("", "Attention"): _attention,
    ("", "Einsum"): _einsum,
    ("netwright.cim", "CrossbarMatMul"): _matmul,
    (CONTRIB_DOMAIN, "MatMulNBits"): _matmul_n_bits,
    (CONTRIB_DOMAIN, "DynamicQuantizeMatMul"): _matmul,
    (CONTRIB_DOMAIN, "MatMulIntegerToFloat"): _matmul,
    (CONTRIB_DOMAIN, "FusedMatMul"): _matmul,
    (CONTRIB_DOMAIN, "TransposeMatMul"): _matmul,
    (CONTRIB_DOMAIN, "FusedGemm"): _matmul,
    (CONTRIB_DOMAIN, "QGemm"): _matmul,
    (CONTRIB_DOMAIN, "FusedConv"): _conv(1),
    (CONTRIB_DOMAIN, "QLinearConv"): _conv(3),
    (CONTRIB_DOMAIN, "DynamicQuantizeLSTM"): _recurrent,
    (CONTRIB_DOMAIN, "Attention"): _fused_attention,
    (CONTRIB_DOMAIN, "QAttention"): _fused_attention,
    (CONTRIB_DOMAIN, "MultiHeadAttention"): _multi_head_attention,
    (CONTRIB_DOMAIN, "GroupQueryAttention"): _grouped_attention,
}
"""`(domain, operator)` → how its multiply-accumulates are counted."""
