"""LSTM to ONNX Runtime's `DynamicQuantizeLSTM`: int8 W and R, one scale for each gate row, inputs and states quantized at each step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir

from netwright.ir.schemas import CONTRIB_DOMAIN
from netwright.passes.quantize.choice import Dynamic
from netwright.passes.quantize.integers import by_rows
from netwright.passes.quantize.record import record_lstm
from netwright.passes.quantize.weights import float_array, owner_of

if TYPE_CHECKING:
    from netwright.ir.editor import AttributeValue, Editor
    from netwright.passes.quantize.units import Unit

_KEPT = ("activation_alpha", "activation_beta", "activations", "clip", "direction", "input_forget")

_Operand = tuple[onnx_ir.Value, onnx_ir.Value, onnx_ir.Value]


def quantize_lstm(editor: Editor, unit: Unit, choice: Dynamic) -> None:
    """Quantize a unit of LSTMs; those that share W or R go on sharing."""
    stored: dict[onnx_ir.Value, _Operand] = {}
    for site in unit.sites:
        node = site.node
        editor.at(node)
        for weight in site.weights:
            if weight not in stored:
                stored[weight] = _store(editor, weight, choice)
        (w, w_scale, w_zero), (r, r_scale, r_zero) = (stored[weight] for weight in site.weights)
        states = [node.inputs[index] if index < len(node.inputs) else None for index in range(3, 8)]
        attributes: dict[str, AttributeValue] = {name: node.attributes[name] for name in _KEPT if name in node.attributes}
        attributes["hidden_size"] = site.columns
        outputs = editor.ops(
            "DynamicQuantizeLSTM",
            [node.inputs[0], w, r, *states, w_scale, w_zero, r_scale, r_zero],
            attributes,
            domain=CONTRIB_DOMAIN,
            names=[f"{output.name or site.name}.int8" for output in node.outputs],
            like=list(node.outputs),
        )
        for old, new in zip(node.outputs, outputs, strict=True):
            if old.uses() or old.is_graph_output():
                editor.replace(old, new)


def _store(editor: Editor, weight: onnx_ir.Value, choice: Dynamic) -> _Operand:
    """The weight [directions, gates, inputs] as int8 [directions, inputs, gates], with scales and zero points [directions, gates]."""
    data = float_array(weight)
    directions, gates, inputs = data.shape
    found = by_rows(data.reshape(directions * gates, inputs), bits=choice.bits, per_channel=choice.axis != "tensor")
    scale = np.broadcast_to(found.scale, (directions * gates,)).reshape(directions, gates)
    values = np.ascontiguousarray(found.values.reshape(directions, gates, inputs).transpose(0, 2, 1))
    graph, name = owner_of(weight), weight.name or "weight"
    stored = editor.constant(values, f"{name}.int8", graph=graph)
    scales = editor.constant(np.ascontiguousarray(scale), f"{name}.scale", graph=graph)
    zeros = editor.constant(np.zeros((directions, gates), np.int8), f"{name}.zero", graph=graph)
    record_lstm(editor, weight, stored, scale.reshape(-1), (directions, gates, inputs))
    return stored, scales, zeros
