"""Which operators ONNX Runtime runs on integers, besides products and convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir

from netwright.ir.opinfo import float_attr, is_standard, str_attr
from netwright.ir.program import array, constant

VIEWS = frozenset({"DepthToSpace", "Flatten", "Identity", "Reshape", "SpaceToDepth", "Squeeze", "Transpose", "Unsqueeze"})
"""Every element of the input is one of the output: integers stay what they are."""

SELECTIONS = frozenset({"Clip", "Expand", "Gather", "MaxPool", "Pad", "Relu", "Resize", "Slice", "Split", "Tile"})
"""Elements of the input, its zero, or a bound: integers stay on their grid, though the range may be smaller."""

RESCALINGS = frozenset({"Div", "HardSigmoid", "Mul"})
"""A positive factor, or HardSigmoid: the same integers, up to bounds, on a grid of another scale and zero point."""

ARITHMETIC = frozenset({"Add", "AveragePool", "Concat", "GlobalAveragePool", "HardSwish", "LeakyRelu", "Mul", "Sigmoid"})
"""New values, which need a grid of their own; ONNX Runtime has a kernel from integers to integers (QLinearAdd …)."""

_CONSTANTS_TAKEN = frozenset({"Add", "Concat", "Mul"})


def moves_integers(node: onnx_ir.Node) -> bool:
    """True where integers can go through a node on the grid on which they came."""
    if not is_standard(node):
        return False
    if node.op_type in VIEWS:
        return True
    return (node.op_type in SELECTIONS and _moves(node)) or (node.op_type in RESCALINGS and rescaling(node) is not None)


def is_view(node: onnx_ir.Node) -> bool:
    """True where the output has just the elements of the input."""
    return is_standard(node) and node.op_type in VIEWS


def computes_integers(node: onnx_ir.Node) -> bool:
    """True where ONNX Runtime has a kernel from integers to integers on another grid."""
    return (
        is_standard(node)
        and node.op_type in ARITHMETIC
        and len(node.outputs) == 1
        and any(constant(operand) is None for operand in node.inputs)
    )


def data_inputs(node: onnx_ir.Node) -> tuple[int, ...]:
    """Positions of the operands that are numbers (not shapes, axes or bounds)."""
    return tuple(range(len(node.inputs))) if node.op_type in _CONSTANTS_TAKEN else (0,)


def is_bounding(node: onnx_ir.Node) -> bool:
    """Relu, or Clip between constants: the kernel before it does this by saturating."""
    return is_standard(node, "Relu") or (is_standard(node, "Clip") and bounds(node) is not None)


def bounds(node: onnx_ir.Node) -> tuple[float, float] | None:
    """The range to which Relu or Clip cuts; None where it is computed."""
    if node.op_type == "Relu":
        return 0.0, float("inf")
    found: list[float] = []
    for index, none in ((1, float("-inf")), (2, float("inf"))):
        value = node.inputs[index] if index < len(node.inputs) else None
        data = array(value, limit=1) if value is not None else None
        if value is not None and (data is None or data.size != 1):
            return None
        found.append(none if data is None else float(data.reshape(-1)[0]))
    return found[0], found[1]


@dataclass(frozen=True, slots=True)
class Rescaling:
    """`clip(factor * x + shift, low, high)`, the factor positive."""

    factor: float
    shift: float = 0.0
    low: float = float("-inf")
    high: float = float("inf")


def rescaling(node: onnx_ir.Node) -> Rescaling | None:
    """What a node does to its first operand, where that is a rescaling."""
    if is_standard(node, "HardSigmoid"):
        alpha, beta = float_attr(node, "alpha", 0.2), float_attr(node, "beta", 0.5)
        return Rescaling(alpha, beta, 0.0, 1.0) if alpha > 0 and 0 < beta < 1 else None
    if not is_standard(node, "Div", "Mul"):
        return None
    data = array(node.inputs[1], limit=1)
    if data is None or data.size != 1 or data.ndim > 1 or constant(node.inputs[0]) is not None:
        return None
    number = float(data.reshape(-1)[0])
    factor = number if node.op_type == "Mul" else (1 / number if number else 0.0)
    return Rescaling(factor) if 0 < factor < float("inf") else None


def _moves(node: onnx_ir.Node) -> bool:
    match node.op_type:
        case "Clip":
            return bounds(node) is not None
        case "MaxPool":
            return len(node.outputs) == 1
        case "Pad":
            return str_attr(node, "mode", "constant") != "constant" or _pads_with_zero(node)
        case "Resize":
            return str_attr(node, "mode", "nearest") == "nearest"
        case _:
            return True


def _pads_with_zero(node: onnx_ir.Node) -> bool:
    value = node.inputs[2] if len(node.inputs) > 2 else None
    if value is None:
        return True
    data = array(value, limit=1)
    return data is not None and data.size == 1 and float(data.reshape(-1)[0]) == 0.0
