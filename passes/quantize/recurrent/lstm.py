"""LSTM to ONNX Runtime's `DynamicQuantizeLSTM`: int8 W and R, one scale for each gate row, inputs and states quantized at each step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir

from netwright.ir.maps import Gone, Mapped
from netwright.ir.schemas import CONTRIB_DOMAIN
from netwright.passes.quantize.choice import channel_factors
from netwright.passes.quantize.record import record_lstm
from netwright.passes.quantize.recurrent.inputs import part_input, part_weight, shrunk
from netwright.passes.quantize.recurrent.states import is_zero, with_one_scale
from netwright.passes.quantize.rounding.base import Nearest, Rounder
from netwright.passes.quantize.weights import float_array, owner_of

if TYPE_CHECKING:
    from netwright.ir.editor import AttributeValue, Editor
    from netwright.passes.quantize.choice import Dynamic
    from netwright.passes.quantize.units import Unit

_KEPT = ("activation_alpha", "activation_beta", "activations", "clip", "direction", "input_forget")

_Operand = tuple[onnx_ir.Value, onnx_ir.Value, onnx_ir.Value]


def quantize_lstm(editor: Editor, unit: Unit, choice: Dynamic, rounder: Rounder | None = None) -> None:
    """Quantize a unit of LSTMs; those that share W or R go on sharing.

    Args:
        editor: the transaction.
        unit: of LSTMs.
        choice: its outliers are the factors by which input channels are divided; for its chunks see `recurrent.inputs`, for its states
            `recurrent.states`.
        rounder: makes integers of W (in one chunk) and R (in rows); to the nearest where not given.
    """
    stored: dict[onnx_ir.Value, _Operand] = {}
    inputs: dict[onnx_ir.Value, onnx_ir.Value] = {}
    rounder, chunks = Nearest() if rounder is None else rounder, choice.chunks
    factors = channel_factors(choice.outliers, unit.sites[0].rows)
    for site in unit.sites:
        node = site.node
        editor.at(node)
        w_value, r_value = site.weights
        if w_value not in stored:
            stored[w_value] = _store(editor, w_value, choice, rounder, factors, chunks)
        if r_value not in stored:
            stored[r_value] = _store(editor, r_value, choice, rounder, None, 1, whole=choice.states == "tensor")
        (w, w_scale, w_zero), (r, r_scale, r_zero) = stored[w_value], stored[r_value]
        data = node.inputs[0]
        assert data is not None, "an LSTM has its input"
        if data not in inputs:
            inputs[data] = shrunk(editor, data, factors)
            inputs[data] = part_input(editor, inputs[data], chunks) if chunks > 1 else inputs[data]
        states = [node.inputs[index] if index < len(node.inputs) else None for index in range(3, 8)]
        states[2:4] = [None if value is None or is_zero(value) else value for value in states[2:4]]
        attributes: dict[str, AttributeValue] = {name: node.attributes[name] for name in _KEPT if name in node.attributes}
        attributes["hidden_size"] = site.columns
        outputs = editor.ops(
            "DynamicQuantizeLSTM",
            [inputs[data], w, r, *states, w_scale, w_zero, r_scale, r_zero],
            attributes,
            domain=CONTRIB_DOMAIN,
            names=[f"{output.name or site.name}.int8" for output in node.outputs],
            like=list(node.outputs),
        )
        for old, new in zip(node.outputs, outputs, strict=True):
            if old.uses() or old.is_graph_output():
                editor.replace(old, new)


def _store(
    editor: Editor,
    weight: onnx_ir.Value,
    choice: Dynamic,
    rounder: Rounder,
    factors: np.ndarray | None,
    chunks: int,
    *,
    whole: bool = False,
) -> _Operand:
    """The weight [directions, gates, inputs] as int8 [directions, inputs, gates], with scales and zero points [directions, gates].

    Where the whole of a direction has one scale, they are [directions].
    """
    data = float_array(weight)
    directions, gates, inputs = data.shape
    flat, per_channel = data.reshape(directions * gates, inputs), choice.axis != "tensor"
    if whole:
        return _store_whole(editor, weight, choice.bits)
    plain = factors is None or bool((factors == 1).all())
    if chunks > 1 and factors is not None:
        found = part_weight(flat, factors, chunks, bits=choice.bits, per_channel=per_channel)
    else:
        found = rounder.rows(weight, flat, bits=choice.bits, factors=None if plain else factors, per_channel=per_channel)
    scale = np.broadcast_to(found.scale, (directions * gates,)).reshape(directions, gates)
    values = np.ascontiguousarray(found.values.reshape(directions, gates, -1).transpose(0, 2, 1))
    graph, name = owner_of(weight), weight.name or "weight"
    stored = editor.constant(values, f"{name}.int8", graph=graph)
    scales = editor.constant(np.ascontiguousarray(scale), f"{name}.scale", graph=graph)
    zeros = editor.constant(np.zeros((directions, gates), np.int8), f"{name}.zero", graph=graph)
    if chunks > 1 and factors is not None:
        editor.map(name, Mapped(Gone(f"in {chunks + 3} parts, as the layer's input is (%{stored.name})"), (name,)))
    else:
        record_lstm(editor, weight, stored, scale.reshape(-1), (directions, gates, inputs), None if plain else factors)
    return stored, scales, zeros


def _store_whole(editor: Editor, weight: onnx_ir.Value, bits: int) -> _Operand:
    """The weight with one scale for each direction."""
    data = float_array(weight)
    directions, gates, inputs = data.shape
    found = [with_one_scale(data[direction], bits) for direction in range(directions)]
    scale = np.array([one for _, one in found], np.float32)
    graph, name = owner_of(weight), weight.name or "weight"
    values = np.array([integers.T for integers, _ in found], np.int8)
    stored = editor.constant(values, f"{name}.int8", graph=graph)
    scales = editor.constant(scale, f"{name}.scale", graph=graph)
    zeros = editor.constant(np.zeros(scale.shape, np.int8), f"{name}.zero", graph=graph)
    record_lstm(editor, weight, stored, np.repeat(scale, gates), (directions, gates, inputs), None)
    return stored, scales, zeros
