"""Chains of transpositions, directly or through elementwise operators, and transposed operands of products."""

from __future__ import annotations

import onnx_ir

from netwright.ir.dims import shape_of
from netwright.ir.editor import Editor, can_replace
from netwright.ir.opinfo import ELEMENTWISE_UNARY, float_attr, int_attr, is_standard
from netwright.ir.program import Program
from netwright.passes.rewrite import Rewrite
from netwright.passes.rules import rule
from netwright.passes.simplify.facts import is_scalar, perm_of, producer, sole_use

_UNARY = tuple(sorted(ELEMENTWISE_UNARY - {"Identity", "Cast", "CastLike", "Clip"}))
_REACH = 8
"""How many elementwise operators two transpositions may be apart."""

_BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "And", "Or", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual")


@rule("Transpose")
def merge_transposes(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A transposition of a transposition is one, or none."""
    out = node.outputs[0]
    inner = producer(node.inputs[0], "Transpose")
    if inner is None:
        return None
    source, first, second = inner.inputs[0], perm_of(inner), perm_of(node)
    if source is None or first is None or second is None:
        return None
    both = [first[axis] for axis in second]
    if both == sorted(both) and can_replace(out, source):
        return Rewrite.replace(out, by=source, why="transpose and back")
    return Rewrite.build(node, lambda editor: editor.op("Transpose", [source], {"perm": both}, like=out), why="transpose of transpose")


@rule(*_UNARY, "Cast")
def sink_through_unary(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """An elementwise operator between two transpositions: let them meet."""
    inner = producer(node.inputs[0], "Transpose")
    if inner is None or sole_use(inner.outputs[0]) is None or not _meets_transpose(node.outputs[0]):
        return None
    return _swap(node, inner, [inner.inputs[0], *node.inputs[1:]])


@rule(*_BINARY)
def sink_through_binary(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Two operands transposed alike, or one that meets a scalar before another transposition."""
    if len(node.inputs) != 2:
        return None
    a, b = node.inputs
    left, right = producer(a, "Transpose"), producer(b, "Transpose")
    if left is not None and right is not None and left is not right:
        same = perm_of(left) == perm_of(right) and perm_of(left) is not None
        if not same or sole_use(left.outputs[0]) is None or sole_use(right.outputs[0]) is None:
            return None
        return _swap(node, left, [left.inputs[0], right.inputs[0]])
    inner, other = (left, b) if left is not None else (right, a)
    if inner is None or sole_use(inner.outputs[0]) is None or not is_scalar(other) or not _meets_transpose(node.outputs[0]):
        return None
    return _swap(node, inner, [inner.inputs[0], other] if inner is left else [other, inner.inputs[0]])


def _meets_transpose(value: onnx_ir.Value) -> bool:
    """True where a value goes into a Transpose, by way of nothing but elementwise operators with scalars."""
    for _ in range(_REACH):
        reader = sole_use(value)
        if reader is None or not is_standard(reader):
            return False
        if reader.op_type == "Transpose":
            return True
        others = [operand for operand in reader.inputs if operand is not value]
        if not (
            reader.op_type in _UNARY
            or reader.op_type == "Cast"
            or (reader.op_type in _BINARY and all(is_scalar(other) for other in others))
        ):
            return False
        value = reader.outputs[0]
    return False


def _swap(node: onnx_ir.Node, inner: onnx_ir.Node, inputs: list[onnx_ir.Value | None]) -> Rewrite | None:
    out, perm = node.outputs[0], perm_of(inner)
    if perm is None:
        return None
    attributes = dict(node.attributes)

    def make(editor: Editor) -> onnx_ir.Value:
        done = editor.op(node.op_type, inputs, attributes)
        return editor.op("Transpose", [done], {"perm": perm}, like=out)

    return Rewrite.build(node, make, why=f"transpose moved behind {node.op_type}")


@rule("MatMul")
def transposed_product(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A product of matrices of which one is transposed for it: Gemm has a switch for that."""
    a, b = node.inputs[:2]
    dims_a, dims_b = shape_of(a), shape_of(b)
    if a is None or b is None or dims_a is None or dims_b is None or len(dims_a) != 2 or len(dims_b) != 2:
        return None
    if a.dtype is None or a.dtype.name not in ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16"):
        return None
    left, right = _transposed(a), _transposed(b)
    if left is None and right is None:
        return None
    inputs = [left or a, right or b]
    switches = {"transA": int(left is not None) or None, "transB": int(right is not None) or None}
    out = node.outputs[0]
    return Rewrite.build(node, lambda editor: editor.op("Gemm", inputs, switches, like=out), why="product with a transposed matrix")


@rule("Gemm")
def transposed_gemm(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A Gemm whose operand is transposed for it: turn the switch over."""
    a, b = node.inputs[:2]
    left, right = (_transposed(a) if a is not None else None), (_transposed(b) if b is not None else None)
    if left is None and right is None:
        return None
    inputs = [left or a, right or b, *node.inputs[2:]]
    attributes = {
        "alpha": float_attr(node, "alpha", 1.0),
        "beta": float_attr(node, "beta", 1.0),
        "transA": int_attr(node, "transA", 0) ^ int(left is not None),
        "transB": int_attr(node, "transB", 0) ^ int(right is not None),
    }
    out = node.outputs[0]
    return Rewrite.build(node, lambda editor: editor.op("Gemm", inputs, attributes, like=out), why="product with a transposed matrix")


def _transposed(value: onnx_ir.Value) -> onnx_ir.Value | None:
    """The matrix that a value, read once, is the transpose of."""
    node = producer(value, "Transpose")
    if node is None or sole_use(value) is None or perm_of(node) != (1, 0):
        return None
    return node.inputs[0]


RULES = (merge_transposes, sink_through_unary, sink_through_binary, transposed_product, transposed_gemm)
