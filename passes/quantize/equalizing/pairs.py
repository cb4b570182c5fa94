"""Neighbouring layers between which channels can be scaled without changing what comes out: cross-layer equalization.

    f(W2 · relu(W1 x + b1))  with row i of W1 and b1 divided by s_i, column i of W2 multiplied by it,  s_i = sqrt(r1_i r2_i) / r2_i

r1_i, r2_i: the largest absolute weight of channel i on either side. Afterwards both sides have the same range (Nagel et al., 2019,
"Data-free quantization through weight equalization and bias correction"). Only across positively homogeneous operators, and where every
reader of the activation takes the scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.opinfo import is_standard
from netwright.ir.program import Program, array
from netwright.passes.quantize.equalizing.scaled import Part
from netwright.passes.rewrite import Miss, site_of
from netwright.passes.statistics import LinearLayer, layer_of

THROUGH = ("Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Identity", "Dropout")
"""f(s x) = s f(x) for s > 0, channel by channel."""

BETWEEN = ("Clip", "Sigmoid", "HardSwish", "HardSigmoid", "Tanh", "Elu", "Selu", "Gelu", "Swish", "Mish", "Softplus")
"""Activations at which a scale stops, told by name."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A layer and all layers that read it.

    Attributes:
        first: its outputs are divided.
        bias: its bias, where it has one.
        readers: their inputs are multiplied.
    """

    first: LinearLayer
    bias: tuple[Part, ...]
    readers: tuple[LinearLayer, ...]

    @property
    def name(self) -> str:
        """The first layer's site."""
        return site_of(self.first.node)


def find_pairs(program: Program) -> Iterator[Pair | Miss]:
    """All pairs of the main graph, and a Miss for each layer with readers that no scale passes to. Linear in nodes."""
    for node in program.graph:
        layer = layer_of(node)
        if layer is None or layer.left or not _owned(layer):
            continue
        bias, value = _bias(layer)
        if bias is None:
            continue
        readers: list[LinearLayer] = []
        problem = _collect(value, layer.outputs, _spatial(layer), readers)
        if problem is not None:
            yield Miss(problem, site_of(node))
        elif readers:
            yield Pair(layer, bias, tuple(readers))


def _owned(layer: LinearLayer) -> bool:
    """True where the weight is read by this node alone, as it is."""
    weight = layer.weight
    return weight.is_initializer() and not weight.is_graph_output() and len(tuple(weight.uses())) == 1 and layer.node.inputs[1] is weight


def _spatial(layer: LinearLayer) -> bool:
    return layer.window is not None


def _bias(layer: LinearLayer) -> tuple[tuple[Part, ...] | None, onnx_ir.Value]:
    """The parts of the layer that are a bias, and the value behind; None where the bias cannot be scaled."""
    node, value = layer.node, layer.output
    if node.op_type in ("Conv", "Gemm") and len(node.inputs) > 2 and node.inputs[2] is not None:
        data = array(node.inputs[2])
        whole = data is not None and data.size == layer.outputs and data.shape[-1] == layer.outputs
        return ((Part(node, 2, data.ndim - 1),) if whole and data is not None else None), value
    uses = tuple(value.uses())
    if node.op_type == "MatMul" and len(uses) == 1 and is_standard(uses[0][0], "Add") and not value.is_graph_output():
        adding, index = uses[0]
        data = array(adding.inputs[1 - index])
        if data is not None:
            whole = data.size == layer.outputs and data.shape[-1] == layer.outputs
            return ((Part(adding, 1 - index, data.ndim - 1),) if whole else None), adding.outputs[0]
    return (), value


def _collect(value: onnx_ir.Value, channels: int, spatial: bool, readers: list[LinearLayer]) -> str | None:
    """Gather the layers behind homogeneous operators; the reason where a reader takes no scale."""
    pending = [value]
    while pending:
        current = pending.pop()
        if current.is_graph_output():
            return f"not equalized: %{current.name} is an output of the graph"
        for user, index in current.uses():
            if is_standard(user, *THROUGH) and index == 0 and len([one for one in user.outputs if one.uses()]) == 1:
                pending.append(user.outputs[0])
                continue
            layer = layer_of(user)
            if layer is None or layer.data is not current or not _owned(layer) or not _fits(layer, channels, spatial):
                return f"not equalized: {_who(user)} also reads it, or stands between"
            readers.append(layer)
    return None


def _fits(layer: LinearLayer, channels: int, spatial: bool) -> bool:
    if layer.left or _spatial(layer) != spatial or (not spatial and layer.channel_axis != -1):
        return False
    return layer.groups == 1 or (layer.groups == channels and layer.channels == 1)


def _who(node: onnx_ir.Node) -> str:
    kind = "a bounded activation" if node.op_type in BETWEEN else "an operator that takes no scale"
    return f"{node.op_type} %{site_of(node)} ({kind})"


def ranges(pair: Pair, scaled: dict[onnx_ir.Value, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The largest absolute weight by channel on either side; `scaled` holds absolute weights as they are by now."""
    first = _peak(scaled[pair.first.weight], pair.first.out_axis)
    seconds = [_reader_peak(reader, scaled[reader.weight]) for reader in pair.readers]
    return first, np.max(seconds, axis=0)


def reader_axis(layer: LinearLayer) -> int:
    """The axis of a reader's weight that its input channels lie along: a depthwise convolution's are its outputs."""
    return 0 if layer.groups > 1 else layer.in_axis


def _reader_peak(layer: LinearLayer, weight: np.ndarray) -> np.ndarray:
    peak = _peak(weight, reader_axis(layer))
    if layer.groups > 1 and layer.outputs != layer.groups:
        return peak.reshape(layer.groups, -1).max(axis=1)
    return peak


def _peak(weight: np.ndarray, axis: int) -> np.ndarray:
    return weight.max(axis=tuple(one for one in range(weight.ndim) if one != axis))
