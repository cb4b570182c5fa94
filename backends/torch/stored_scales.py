"""Scales of integers that are stored: constants that say what a step of integer weights is worth, wherever a graph multiplies by them.

They are no weights. One is a thousandth, and an optimizer that moves weights by a thousandth at a time would double it in one step.
"""

from __future__ import annotations

import onnx_ir

from netwright.backends.torch.table import find_entry
from netwright.ir.program import constant
from netwright.passes.simplify.match import producer

_MOVERS = frozenset({"Gather", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})
_PRODUCTS = ("ConvInteger", "MatMulInteger")
_WIDEST = 8
"""Bits of integers that weights are stored as; wider ones are positions and identifiers."""

_REACH = 4
"""How many nodes there may be between a scale and what it scales, or between integers and their cast."""


def scales_stored(value: onnx_ir.Value) -> bool:
    """True of a float constant each of whose readers multiplies integer weights, or sums of products of integers, by it.

    Readers may be operators with integers and scales among their inputs, and graphs of Cast and Mul.

    Args:
        value: an initializer.
    """
    uses = list(value.uses())
    return bool(uses) and all(_scales(use.node, use.idx, _REACH) for use in uses)


def stored_integers(value: onnx_ir.Value) -> int:
    """How many integers a scale's first reader holds of which it is known; 0 where none is."""
    sizes = (
        tensor.size
        for use in value.uses()
        for given in use.node.inputs
        if (tensor := constant(given)) is not None and tensor.dtype.is_integer() and tensor.dtype.bitwidth <= _WIDEST
    )
    return max(sizes, default=0)


def _scales(node: onnx_ir.Node, place: int, reach: int) -> bool:
    if reach == 0:
        return False
    if node.domain not in ("", "ai.onnx"):
        return _is_scale_input(node, place)
    if node.op_type in _MOVERS and place == 0:
        return _all_scale(node.outputs[0], reach - 1)
    if node.op_type != "Mul":
        return False
    other = node.inputs[1 - place]
    if _is_cast(other):
        return True
    return producer(other, "DynamicQuantizeLinear") is not None and _all_scale(node.outputs[0], reach - 1)


def _all_scale(value: onnx_ir.Value, reach: int) -> bool:
    uses = list(value.uses())
    return bool(uses) and not value.is_graph_output() and all(_scales(use.node, use.idx, reach) for use in uses)


def _is_scale_input(node: onnx_ir.Node, place: int) -> bool:
    """True of the scale of an operator that has stored integers beside it."""
    entry = find_entry(node.op_type, node.domain, 1)
    if entry is None or place >= len(entry.inputs) or "scale" not in entry.inputs[place] or entry.inputs[place] in entry.frozen:
        return False
    return any(_is_stored(given) for given in node.inputs)


def _is_cast(value: onnx_ir.Value | None) -> bool:
    """True of floats cast from stored integers, or from sums of products of integers."""
    node = producer(value, "Cast")
    for _ in range(_REACH):
        if node is None:
            return False
        source = node.inputs[0]
        if _is_stored(source) or producer(source, *_PRODUCTS) is not None:
            return True
        node = producer(source, *_MOVERS)
    return False


def _is_stored(value: onnx_ir.Value | None) -> bool:
    tensor = constant(value)
    return tensor is not None and tensor.dtype.is_integer() and tensor.dtype.bitwidth <= _WIDEST and len(tensor.shape) > 0
