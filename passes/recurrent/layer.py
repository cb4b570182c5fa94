"""What a recurrent node says of itself, and what speaks against writing its steps out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import onnx_ir

from netwright.ir.dims import names_in, shape_of
from netwright.ir.opinfo import has_references, int_attr, is_float, str_attr, strs_attr
from netwright.ir.program import array, constant

GATES: Mapping[str, int] = MappingProxyType({"LSTM": 4, "GRU": 3, "RNN": 1})
"""Operators that can be written out, and how many gates each has."""

ACTIVATIONS: Mapping[str, str] = MappingProxyType(
    {name.lower(): name for name in ("Elu", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Softplus", "Softsign", "Tanh")}
)
"""Activations that are operators of the same name with the same defaults."""

_USUAL: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
)
_LEAST_OPSET = 13
"""In which Split and Unsqueeze take what they need as inputs."""

_INPUTS: Mapping[int, str] = MappingProxyType({1: "weight W", 2: "weight R", 3: "bias B", 7: "weight P of peepholes"})


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A recurrent layer whose steps can be written out.

    Attributes:
        node: LSTM, GRU or RNN.
        steps: how many there are.
        hidden: units of a direction.
        backwards: of each direction, whether it goes from the last step to the first.
        activations: of each direction, in ONNX's order, as operators.
        before_reset: of GRU, whether R multiplies the state before its reset (`linear_before_reset`).
    """

    node: onnx_ir.Node
    steps: int
    hidden: int
    backwards: tuple[bool, ...]
    activations: tuple[tuple[str, ...], ...]
    before_reset: bool

    @property
    def kind(self) -> str:
        """Its operator."""
        return self.node.op_type

    @property
    def directions(self) -> int:
        """One or two."""
        return len(self.backwards)

    @property
    def gates(self) -> int:
        """Outputs of all gates of a direction."""
        return GATES[self.kind] * self.hidden

    def input(self, index: int) -> onnx_ir.Value | None:
        """An input of the node; None where it is left out."""
        return self.node.inputs[index] if index < len(self.node.inputs) else None


def read_layer(node: onnx_ir.Node, limit: int) -> Layer | str:
    """The layer of a node, or why its steps stay together.

    Args:
        node: LSTM, GRU or RNN.
        limit: most steps that are written out.
    """
    obstacle = _obstacle(node)
    if obstacle is not None:
        return obstacle
    shape, recurrent = shape_of(node.inputs[0]), constant(node.inputs[2])
    assert recurrent is not None, "an obstacle otherwise"
    steps = None if shape is None or len(shape) != 3 else shape[0]
    if not isinstance(steps, int):
        return _unknown(steps)
    if not 0 < steps <= limit:
        return f"{steps} steps; unroll(limit={limit}) writes out 1 to {limit}"
    lengths = node.inputs[4] if len(node.inputs) > 4 else None
    if lengths is not None:
        known = array(lengths)
        if known is None or bool((known != steps).any()):
            return f"%{lengths.name} gives sequences lengths of their own; only the full {steps} steps can be written out"
    direction, hidden = str_attr(node, "direction", "forward"), int(recurrent.shape.numpy()[2])
    backwards = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[direction]
    usual = _USUAL[node.op_type]
    names = strs_attr(node, "activations", usual * len(backwards))
    activations = tuple(ACTIVATIONS[name.lower()] for name in names)
    each = tuple(activations[at : at + len(usual)] for at in range(0, len(activations), len(usual)))
    return Layer(node, steps, hidden, backwards, each, bool(int_attr(node, "linear_before_reset", 0)))


def _unknown(steps: onnx_ir.SymbolicDim | None) -> str:
    names = sorted(names_in([steps])) if steps is not None else []
    if not names:
        return "the number of steps is not known before the model runs"
    return f"the number of steps is {steps}: unroll(dims={{'{names[0]}': 100}}) fixes it, for inputs of that size alone"


def _obstacle(node: onnx_ir.Node) -> str | None:
    graph = node.graph
    opset = graph.opset_imports.get("", 0) if graph is not None else 0
    if has_references(node):
        return "its attributes are parameters of a function; `simplify` inlines functions"
    if opset < _LEAST_OPSET:
        return f"opset {opset} is below {_LEAST_OPSET}: simplify(opset=20) raises it"
    if int_attr(node, "layout", 0):
        return "its first axis is the batch (layout 1), which ONNX Runtime does not run either"
    for name in ("clip", "input_forget", "activation_alpha", "activation_beta"):
        found = node.attributes.get(name)
        if found is not None and found.value not in (0, 0.0):
            return f"the attribute {name}, which has no counterpart among operators of one step"
    strange = [name for name in strs_attr(node, "activations", ()) if name.lower() not in ACTIVATIONS]
    if strange:
        return f"the activation {strange[0]}; those that can be written out are {', '.join(ACTIVATIONS.values())}"
    for index, what in _INPUTS.items():
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is None and index > 2:
            continue
        held = constant(value)
        if held is None:
            return f"the {what} (%{value.name if value is not None else ''}) is not constant"
        if not is_float(held.dtype):
            return f"the {what} is {held.dtype.name.lower()}, not a float"
    return None
