"""Where an activation's scale can go for nothing: constants of what makes it."""

from __future__ import annotations

import onnx_ir

from netwright.ir.opinfo import has_references, int_attr, is_standard
from netwright.ir.program import array
from netwright.ir.shapes import rank
from netwright.passes.quantize.equalizing.groups import Group
from netwright.passes.quantize.equalizing.scaled import Part
from netwright.passes.statistics import layer_of

NORMS = ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
HOMOGENEOUS = ("Relu", "LeakyRelu", "Identity", "Dropout")
"""f(s x) = s f(x) for s > 0, channel by channel."""


def parts_of(group: Group) -> tuple[Part, ...] | None:
    """The constants to scale so that each channel of the activation is scaled; None where there are none, or others read it."""
    return _walk(group.activation, group.channels) if group.alone else None


def _walk(value: onnx_ir.Value, channels: int) -> tuple[Part, ...] | None:
    """Follows what makes the value, as long as nothing else reads it."""
    node = value.producer()
    if node is None or has_references(node) or value is not node.outputs[0]:
        return None
    if node.op_type in NORMS and node.domain in ("", "ai.onnx"):
        return _norm(node, channels)
    if is_standard(node, *HOMOGENEOUS):
        return _through(node.inputs[0], channels)
    if is_standard(node, "Add"):
        return _sum(node, channels)
    if is_standard(node, "Mul"):
        return _gate(node, channels)
    return _product(node, channels)


def _through(value: onnx_ir.Value | None, channels: int) -> tuple[Part, ...] | None:
    if value is None or value.is_graph_output() or len(tuple(value.uses())) != 1:
        return None
    return _walk(value, channels)


def _norm(node: onnx_ir.Node, channels: int) -> tuple[Part, ...] | None:
    value = node.inputs[0]
    axis = int_attr(node, "axis", -1)
    if axis != -1 and (value is None or rank(value) is None or axis != (rank(value) or 0) - 1):
        return None
    parts: list[Part] = []
    for index in range(1, min(len(node.inputs), 3)):
        if node.inputs[index] is None:
            continue
        data = array(node.inputs[index])
        if data is None or data.shape != (channels,):
            return None
        parts.append(Part(node, index, 0))
    return tuple(parts) if parts else None


def _sum(node: onnx_ir.Node, channels: int) -> tuple[Part, ...] | None:
    """A bias: it is scaled, and what it is added to."""
    for index in (0, 1):
        bias = array(node.inputs[index])
        if bias is None:
            continue
        if bias.size != 1 and (bias.shape[-1] != channels or bias.size != channels):
            return None
        rest = _through(node.inputs[1 - index], channels)
        return None if rest is None else (Part(node, index, None if bias.size == 1 else bias.ndim - 1), *rest)
    return None


def _gate(node: onnx_ir.Node, channels: int) -> tuple[Part, ...] | None:
    """A constant factor takes the scale; of two computed ones, either."""
    for index in (0, 1):
        data = array(node.inputs[index])
        if data is not None:
            whole = data.size == channels and data.shape[-1] == channels
            return (Part(node, index, data.ndim - 1),) if whole and data.ndim else None
    if node.inputs[0] is node.inputs[1]:
        return None
    found = _through(node.inputs[1], channels)
    return found if found is not None else _through(node.inputs[0], channels)


def _product(node: onnx_ir.Node, channels: int) -> tuple[Part, ...] | None:
    layer = layer_of(node)
    if layer is None or layer.window is not None or layer.left or layer.outputs != channels or layer.weight.is_graph_output():
        return None
    if node.inputs[1] is not layer.weight or len(tuple(layer.weight.uses())) != 1:
        return None
    parts = [Part(node, 1, layer.out_axis)]
    if node.op_type == "Gemm" and len(node.inputs) > 2 and node.inputs[2] is not None:
        bias = array(node.inputs[2])
        if bias is None or bias.size != channels or bias.shape[-1] != channels:
            return None
        parts.append(Part(node, 2, bias.ndim - 1))
    return tuple(parts)
