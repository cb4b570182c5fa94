"""Chains of constants: x · a · b, x + a + b, and factors on both sides of a product."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.program import Program, array
from netwright.passes.numerics import Close
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import rule
from netwright.passes.simplify.facts import is_scalar, producer, sole_use, splat

SMALL = 4096
"""Constants of more elements than this are weights, and left to the rules that fold weights."""


@rule("Mul", "Add", numerics=Close())
def merge_constants(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Two constant factors, or summands, in a row are one."""
    value, outer = _constant_side(node)
    inner = producer(value, node.op_type)
    if value is None or outer is None or inner is None or sole_use(value) is None:
        return None
    source, first = _constant_side(inner)
    if source is None or first is None or (not is_scalar(outer) and not is_scalar(first)):
        return None
    a, b = array(first, limit=SMALL), array(outer, limit=SMALL)
    if a is None or b is None or a.dtype.kind not in "fiu" or a.dtype != b.dtype or "Trainable" in program.properties:
        return None
    with np.errstate(all="ignore"):
        joined = np.asarray(np.multiply(a, b) if node.op_type == "Mul" else np.add(a, b), a.dtype)
    vanished = node.op_type == "Mul" and bool(((joined == 0) & (a != 0) & (b != 0)).any())
    if vanished or not _sound(joined):
        return None
    out = node.outputs[0]
    return Rewrite.build(
        node,
        lambda editor: editor.op(
            node.op_type, [source, editor.constant(joined, "factor" if node.op_type == "Mul" else "summand")], like=out
        ),
        why=f"two constants of {node.op_type} in a row",
    )


def _constant_side(node: onnx_ir.Node) -> tuple[onnx_ir.Value | None, onnx_ir.Value | None]:
    """The computed and the constant operand of a node with one of each."""
    a, b = node.inputs[:2]
    if a is None or b is None:
        return None, None
    if b.const_value is not None and a.const_value is None:
        return a, b
    if a.const_value is not None and b.const_value is None:
        return b, a
    return None, None


def _sound(data: np.ndarray) -> bool:
    return data.dtype.kind in "iu" or bool(np.isfinite(data).all())


@rule("MatMul", numerics=Close())
def one_factor_for_product(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """Scalar factors on both operands of a product are one factor on the left one."""
    a, b = node.inputs[:2]
    left, right = producer(a, "Mul"), producer(b, "Mul")
    if left is None or right is None or left is right or a is None or b is None:
        return None
    if sole_use(a) is None or sole_use(b) is None:
        return None
    x, first = _constant_side(left)
    y, second = _constant_side(right)
    if x is None or y is None or not is_scalar(first) or not is_scalar(second):
        return None
    p, q = splat(first), splat(second)
    if p is None or q is None or p.dtype != q.dtype or p.dtype.kind != "f":
        return None
    if p.dtype.itemsize < 4:
        return Miss(
            f"factors {float(p):g} and {float(q):g} on {p.dtype} operands: the product might overflow where the scaled operands do not",
            site_of(node),
        )
    with np.errstate(over="ignore"):
        factor = np.asarray(np.multiply(p, q), p.dtype)
    if not _sound(factor):
        return None
    out = node.outputs[0]

    def make(editor: Editor) -> onnx_ir.Value:
        scaled = editor.op("Mul", [x, editor.constant(factor, "factor")], like=a, name=a.name or "")
        return editor.op("MatMul", [scaled, y], like=out)

    return Rewrite.build(node, make, why=f"factors {float(p):g} and {float(q):g} are one on the left")


RULES = (merge_constants, one_factor_for_product)
