"""Products that are not on crossbars, in words: those of two values of the input priced both ways, those with weights counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, TypeAlias

import onnx_ir

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.cost.estimate import Price, on_arrays, on_vector_unit, writing
from netwright.backends.cim.lowering.chips import coding_for
from netwright.backends.cim.mapping.regions import Piece
from netwright.ir.cost.macs import macs
from netwright.ir.program import constant
from netwright.ir.shapes import static_shape

Right: TypeAlias = Literal["computed", "float weights", "integer weights"]

_MULTIPLY = ("MatMul", "MatMulInteger", "Gemm", "Conv")
_MOVE = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Split", "Slice", "Concat", "Identity", "Expand")


@dataclass(frozen=True, slots=True)
class Attention:
    """A product [M, K]·[K, N] of two values of the input, `count` times side by side (heads).

    Attributes:
        count: how many.
        vectors: M.
        rows: K, which would be rows of arrays.
        outputs: N.
        integers: both operands are integers behind a DequantizeLinear, or as they are.
    """

    count: int
    vectors: int
    rows: int
    outputs: int
    integers: bool

    def prices(self, arch: Arch) -> tuple[Price, Price, Price, int]:
        """On one tile's vector unit; written to arrays, heads side by side; of which the writing; cells written."""
        coding = coding_for(arch)
        unit = on_vector_unit(arch, self.count * self.vectors * self.rows * self.outputs)
        wrote, cells = writing(arch, coding, rows=self.rows, outputs=self.outputs)
        done = wrote + on_arrays(arch, coding, rows=self.rows, outputs=self.outputs, vectors=self.vectors)
        return unit, Price(self.count * done.pj, done.ns), Price(self.count * wrote.pj, wrote.ns), self.count * cells


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


def attention_of(node: onnx_ir.Node) -> Attention | None:
    """The sizes of a product of two values of the input; None of other nodes."""
    if _right(node) != "computed" or node.op_type not in ("MatMul", "MatMulInteger"):
        return None
    a, y = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    if a is None or y is None or min(len(a), len(y)) < 2:
        return None
    integers = all(_is_integers(value) for value in node.inputs[:2])
    return Attention(prod(y[:-2]), y[-2], a[-1], y[-1], integers)


def _attention_notes(piece: Piece, arch: Arch) -> list[str]:
    found = [one for node in piece.nodes if (one := attention_of(node)) is not None]
    if not found:
        return []
    unit, arrays, wrote, cells = _added([one.prices(arch) for one in found])
    dearer = arrays.product >= unit.product
    why = (
        "are floats, and arrays take bytes" if not all(one.integers for one in found) else "are computed, and programs write only constants"
    )
    verdict = "The vector unit costs less." if dearer else f"Arrays would cost less by energy × delay, but the operands {why}."
    return [
        f"{piece.name}: products of two values of the input stay on vector units: {unit} on one; in arrays {arrays}, "
        f"of which {wrote} to write {cells:,} cells. {verdict}"
    ]


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
