"""Other activations, spelt out, become the standard's own operators.

`x · sigmoid(x)` stays: ONNX Runtime fuses those two itself, but expands opset 24's Swish into steps that take five times as
long (1.31, CPU).
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.opinfo import float_attr, is_float
from netwright.ir.program import Program
from netwright.passes.rewrite import Miss, Rewrite
from netwright.passes.rules import Rule
from netwright.passes.simplify.match import (
    close_to,
    escaping,
    fusion,
    other_input,
    producer,
    read_elsewhere,
    reader,
    scalar,
)
from netwright.passes.simplify.match_product import Product, products


@fusion("HardSigmoid", since=14)
def fuse_hardswish(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """`x · HardSigmoid(x)` with slope 1/6 and offset 1/2 becomes HardSwish."""
    source = node.inputs[0]
    if not close_to(float_attr(node, "alpha", 0.2), 1 / 6, 1e-3) or not close_to(float_attr(node, "beta", 0.5), 0.5):
        return None
    return _gated(node, source, node.outputs[0], (node,), "HardSwish")


@fusion("Clip", since=14)
def fuse_spelt_hardswish(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """`x · Clip(x + 3, 0, 6) / 6` becomes HardSwish, and without the factor x, HardSigmoid."""
    if len(node.inputs) != 3 or scalar(node.inputs[1]) != 0.0 or scalar(node.inputs[2]) != 6.0:
        return None
    shifted = producer(node.inputs[0], "Add")
    if shifted is None or not is_float(node.outputs[0].dtype):
        return None
    left, right = shifted.inputs
    source = left if scalar(right, left) == 3.0 else right if scalar(left, right) == 3.0 else None
    if source is None:
        return None
    sixth: Product | None = None
    for product in products(node.outputs[0]):
        if not close_to(product.number, 1 / 6, 1e-3) or product.other not in (None, source):
            continue
        sixth = product
        if product.other is source:
            break
    if sixth is None:
        return None
    outside = escaping((node, shifted, *sixth.nodes), sixth.root)
    if outside is not None:
        return read_elsewhere(outside, sixth.root, "hard swish")
    if sixth.other is not None:
        return _fused(sixth.root, "HardSwish", source)
    return _fused(sixth.root, "HardSigmoid", source, alpha=1 / 6, beta=0.5)


@fusion("Softplus", since=18)
def fuse_mish(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """`x · tanh(softplus(x))` becomes Mish."""
    bent = reader(node.outputs[0], "Tanh")
    return None if bent is None else _gated(node, node.inputs[0], bent.outputs[0], (node, bent), "Mish")


@fusion("Log")
def fuse_softplus(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """`log(1 + exp(x))` becomes Softplus, which does not overflow."""
    total = producer(node.inputs[0], "Add")
    if total is None:
        return None
    left, right = total.inputs
    power = producer(left, "Exp") if scalar(right, left) == 1.0 else producer(right, "Exp") if scalar(left, right) == 1.0 else None
    if power is None or power.inputs[0] is None:
        return None
    outside = escaping((total, power), node)
    return read_elsewhere(outside, node, "softplus") if outside is not None else _fused(node, "Softplus", power.inputs[0])


@fusion("Min", "Clip", since=11)
def fuse_relu_clip(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """`min(relu(x), b)` and `clip(relu(x), a ≤ 0, b)` become one Clip."""
    inner, value = _relu_below(node)
    if inner is None or value is None or inner.inputs[0] is None:
        return None
    if node.op_type == "Clip":
        low = scalar(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] is not None else -math.inf
        upper = node.inputs[2] if len(node.inputs) > 2 else None
        if low is None or low > 0.0:
            return None
    else:
        upper = other_input(node, value)
    if upper is None or (high := scalar(upper, value)) is None or high < 0.0:
        return None
    outside = escaping((inner,), node)
    if outside is not None:
        return read_elsewhere(outside, node, "clipped relu")
    dtype, source = node.outputs[0].dtype, inner.inputs[0]
    if dtype is None or not is_float(dtype):
        return None

    def make(editor: Editor) -> onnx_ir.Value:
        bounds = [
            editor.constant(np.array(number, dtype.numpy()), f"{node.outputs[0].name}.{name}")
            for name, number in (("low", 0.0), ("high", high))
        ]
        return editor.op("Clip", [source, *bounds], like=node.outputs[0])

    return Rewrite.build(node, make, why=f"relu bounded by {high:g}")


def _relu_below(node: onnx_ir.Node) -> tuple[onnx_ir.Node | None, onnx_ir.Value | None]:
    candidates = node.inputs[:1] if node.op_type == "Clip" else node.inputs
    for value in candidates if len(node.inputs) <= 3 else ():
        found = producer(value, "Relu")
        if found is not None:
            return found, value
    return None, None


@fusion("Max")
def fuse_relu(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """`max(x, 0)` becomes Relu."""
    if len(node.inputs) != 2 or not is_float(node.outputs[0].dtype):
        return None
    left, right = node.inputs
    source = left if scalar(right, left) == 0.0 else right if scalar(left, right) == 0.0 else None
    return None if source is None else _fused(node, "Relu", source)


def _gated(
    node: onnx_ir.Node, source: onnx_ir.Value | None, gate: onnx_ir.Value, inner: tuple[onnx_ir.Node, ...], op: str
) -> Rewrite | Miss | None:
    """`source · gate` becomes one operator."""
    root = reader(gate, "Mul")
    if root is None or source is None or other_input(root, gate) is not source or not is_float(source.dtype):
        return None
    outside = escaping(inner, root)
    return read_elsewhere(outside, root, op) if outside is not None else _fused(root, op, source)


def _fused(root: onnx_ir.Node, op: str, source: onnx_ir.Value, **attributes: float) -> Rewrite:
    return Rewrite.build(root, lambda editor: editor.op(op, [source], attributes, like=root.outputs[0]), why=f"{op}, spelt out")


RULES: tuple[Rule, ...] = (
    fuse_hardswish,
    fuse_spelt_hardswish,
    fuse_mish,
    fuse_softplus,
    fuse_relu_clip,
    fuse_relu,
)
