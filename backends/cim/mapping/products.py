"""Products that are not on crossbars, in words, and those written to them: of two values of the input priced both ways, others counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Literal, TypeAlias

import onnx_ir

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.cost.estimate import Price
from netwright.backends.cim.lowering.prices import Attention, attention_of
from netwright.backends.cim.mapping.regions import Piece
from netwright.backends.cim.mapping.stages import Product, Stage
from netwright.ir.cost.macs import macs
from netwright.ir.program import constant

Right: TypeAlias = Literal["computed", "float weights", "integer weights"]

_MULTIPLY = ("MatMul", "MatMulInteger", "Gemm", "Conv")
_MOVE = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Split", "Slice", "Concat", "Identity", "Expand")


def product_notes(pieces: Sequence[Piece], arch: Arch) -> list[str]:
    """A sentence for each region with products of two values of the input, or with float weights; one for all with integer weights."""
    notes: list[str] = []
    held: list[tuple[str, int]] = []
    for piece in pieces:
        if piece.why_host:
            continue
        notes += _attention_notes(piece, arch)
        floats, integers = (_amount(piece, kind) for kind in ("float weights", "integer weights"))
        if floats:
            notes.append(
                f"{piece.name}: {floats:,} multiply-accumulates with float weights, on vector units: the quantizer left them floats."
            )
        held += [(piece.name, integers)] if integers else []
    if held:
        total, names = sum(amount for _, amount in held), ", ".join(name for name, _ in held)
        notes.append(
            f"{total:,} multiply-accumulates with integer weights on vector units (the pass `crossbars` says of each why): {names}."
        )
    return notes


def written_notes(stages: Iterable[Stage], arch: Arch) -> list[str]:
    """A sentence for each product whose right operand is written to arrays, with what that costs either way."""
    notes: list[str] = []
    for one in stages:
        if not isinstance(one, Product) or one.lead is None:
            continue
        count, (rows, outputs) = prod(one.lead), one.values.shape
        unit, arrays, wrote, cells = Attention(count, one.positions // count, rows, outputs).prices(arch)
        notes.append(
            f"{one.layer}: {count} × [{rows}, {outputs}] are computed and written to arrays for every sample, {cells:,} cells: about "
            f"{arrays}, of which {wrote} to write; {unit} on vector units."
        )
    return notes


def _attention_notes(piece: Piece, arch: Arch) -> list[str]:
    found = [(node, one) for node in piece.nodes if _is_pair(node) and (one := attention_of(node)) is not None]
    if not found:
        return []
    unit, arrays, wrote, cells = _added([one.prices(arch) for _, one in found])
    dearer = arrays.product >= unit.product
    integers = all(_is_integers(value) for node, _ in found for value in node.inputs[:2])
    why = "are kept there (the pass `crossbars` says of each why)" if integers else "are floats, and arrays take bytes"
    verdict = "Vector units cost less." if dearer else f"Arrays would cost less by energy × delay, but the operands {why}."
    return [
        f"{piece.name}: products of two values of the input stay on vector units: {unit} there; in arrays {arrays}, "
        f"of which {wrote} to write {cells:,} cells. {verdict}"
    ]


def _is_pair(node: onnx_ir.Node) -> bool:
    return node.op_type in ("MatMul", "MatMulInteger") and _right(node) == "computed"


def _added(prices: Iterable[tuple[Price, Price, Price, int]]) -> tuple[Price, Price, Price, int]:
    unit, arrays, wrote, cells = Price(), Price(), Price(), 0
    for one in prices:
        unit, arrays, wrote, cells = unit + one[0], arrays + one[1], wrote + one[2], cells + one[3]
    return unit, arrays, wrote, cells


def _amount(piece: Piece, kind: Right) -> int:
    return sum(sum(macs(node).terms.values()) for node in piece.nodes if macs(node).known and _right(node) == kind)


def _right(node: onnx_ir.Node) -> Right | None:
    """What a product's second operand is; None where the node is no product, or one of constants."""
    if node.op_type not in _MULTIPLY or not macs(node).terms:
        return None
    left, right = node.inputs[:2]
    if constant(left) is not None:
        return None
    if constant(right) is not None:
        return "float weights" if node.op_type != "MatMulInteger" else "integer weights"
    maker = right.producer() if right is not None else None
    if maker is not None and maker.op_type == "DequantizeLinear" and constant(maker.inputs[0]) is not None:
        return "integer weights" if _dequantized(left) else "float weights"
    return "computed"


def _dequantized(value: onnx_ir.Value | None) -> bool:
    """True of what a DequantizeLinear makes, moved about or not."""
    maker = value.producer() if value is not None else None
    while maker is not None and maker.op_type in _MOVE and maker.inputs[0] is not None:
        maker = maker.inputs[0].producer()
    return maker is not None and maker.op_type == "DequantizeLinear"


def _is_integers(value: onnx_ir.Value | None) -> bool:
    known = value is not None and value.dtype in (onnx_ir.DataType.INT8, onnx_ir.DataType.UINT8)
    return known or _dequantized(value)
