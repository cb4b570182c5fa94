"""Products of two values that both depend on the input (attention): what they cost on vector units, and written to arrays first."""

from __future__ import annotations

from math import prod

import onnx_ir

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.cost.delays import mvm_ns, vector_ns, write_ns
from netwright.backends.cim.mapping.regions import Piece
from netwright.ir.cost.macs import macs
from netwright.ir.program import constant
from netwright.ir.shapes import static_shape


def dynamic_note(piece: Piece, arch: Arch) -> str:
    """What the products of a region cost either way, as a sentence; empty where it has none, or is the host's.

    On arrays, the second operand of [M, K]·[K, N] is written (rows of one array follow each other, arrays are written side by side), then
    M vectors go through; its energy is that of writing alone, so a lower bound. Such products stay on vector units: arrays hold constants.
    """
    total = writing = unit_ns = array_ns = 0.0
    for node in piece.nodes if not piece.why_host else ():
        sizes = _sizes(node)
        if sizes is None:
            continue
        batch, rows, inner, outer = sizes
        amount = batch * rows * inner * outer
        coding = Coding(rows=arch.array.active_rows, digit_bits=arch.array.digit_bits, cell_bits=arch.array.cell_bits)
        total += amount * arch.tile.vector.pj_per_mac
        unit_ns += vector_ns(arch, macs=amount)
        writing += batch * inner * outer * -(-coding.weight_bits // coding.cell_bits) * arch.array.write_pj
        array_ns += write_ns(arch, min(inner, arch.array.rows)) + rows * mvm_ns(arch, coding, -(-inner // coding.rows))
    if not total:
        return ""
    cheaper = "" if total <= writing or unit_ns <= array_ns else " Arrays might be cheaper, but they hold constants only."
    return (
        f"{piece.name}: products of two values of the input stay on vector units: {total / 1e3:,.1f} nJ and {unit_ns / 1e3:,.1f} µs "
        f"on one; written to arrays first, at least {writing / 1e3:,.1f} nJ and {array_ns / 1e3:,.1f} µs.{cheaper}"
    )


def _sizes(node: onnx_ir.Node) -> tuple[int, int, int, int] | None:
    """Batch, M, K and N of a product without constant operands; None for other nodes."""
    if node.op_type not in ("MatMul", "MatMulInteger") or not macs(node).terms:
        return None
    left, right = node.inputs[:2]
    if constant(left) is not None or constant(right) is not None:
        return None
    a, y = static_shape(left), static_shape(node.outputs[0])
    return (prod(y[:-2]), y[-2], a[-1], y[-1]) if a is not None and y is not None and min(len(a), len(y)) > 1 else None
