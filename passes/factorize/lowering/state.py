"""The weights that a recurrent layer's state meets: the layer becomes a Scan in whose body the state passes through the factors.

ONNX's LSTM, GRU and RNN take R whole. What the input contributes is computed for all steps at once, before the Scan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir

from netwright.ir.editor import AttributeValue, Editor
from netwright.ir.maps import Mapped, Reshape, Split, ValueMap
from netwright.ir.opinfo import attribute, int_attr, str_attr, strs_attr
from netwright.ir.opinfo import site as site_name
from netwright.ir.program import array, constant
from netwright.ir.shapes import shape_of
from netwright.passes.factorize.factors import Factors, Stage
from netwright.passes.factorize.lowering.cells import Cell, Factor, Gates, body_of, split_attributes
from netwright.passes.factorize.lowering.integers import integers
from netwright.passes.factorize.lowering.maps import TURN, gone, lineage_of
from netwright.passes.factorize.lowering.store import dtype_of, is_low_rank, keep, suffixes
from netwright.passes.factorize.sites.site import FactorSite
from netwright.passes.factorize.sites.weights import weight_of

_GATES: Mapping[str, int] = {"GRU": 3, "LSTM": 4, "RNN": 1}
_ACTIVATIONS: Mapping[str, tuple[str, ...]] = {"GRU": ("sigmoid", "tanh"), "LSTM": ("sigmoid", "tanh", "tanh"), "RNN": ("tanh",)}
_LEAST_OPSET = 9
"""The operator set from which on Scan has no batch axis."""


def state_refusal(site: FactorSite, factors: Factors) -> str | None:
    """Why recurrent layers cannot become Scans with this chain; None where they can."""
    directions, (outputs, hidden) = site.groups, site.shape
    channels = hidden
    for number, stage in enumerate(factors.stages):
        if stage.dims or stage.array.ndim != 2 or stage.groups != directions or stage.array.shape[0] % directions:
            return f"stage {number} is no dense matrix for each of {directions} directions"
        if stage.array.shape[1] != channels:
            return f"stage {number} takes {stage.array.shape[1]} channels, there are {channels}"
        channels = stage.array.shape[0] // directions
    if factors.dims or channels * directions != outputs:
        return f"the chain gives {channels} channels, the weight {outputs // directions}"
    if len({_cell(reader.node) for reader in site.readers}) > 1:
        return "layers of different kinds share it"
    return next(
        (f"{reader.node.op_type} %{site_name(reader.node)} {reason}" for reader in site.readers if (reason := _refusal(reader.node))), None
    )


def _refusal(node: onnx_ir.Node) -> str | None:
    kind = node.op_type
    graph = node.graph
    opset = graph.opset_imports.get("", 0) if graph is not None else 0
    if opset < _LEAST_OPSET:
        return f"is of opset {opset}, whose Scan has a batch axis; raise the opset first"
    wanted = _ACTIVATIONS[kind] * (2 if str_attr(node, "direction", "forward") == "bidirectional" else 1)
    if tuple(name.lower() for name in strs_attr(node, "activations", wanted)) != wanted:
        return "has activations of its own"
    for name in ("clip", "activation_alpha", "activation_beta"):
        if attribute(node, name) is not None:
            return f"has the attribute {name}"
    if int_attr(node, "layout", 0) or int_attr(node, "input_forget", 0):
        return f"has the attribute {'layout' if int_attr(node, 'layout', 0) else 'input_forget'}"
    for index, name in ((4, "sequence_lens"), (7, "peepholes")):
        if _input(node, index) is not None:
            return f"has {name}"
    if constant(node.inputs[1]) is None or (_input(node, 3) is not None and constant(_input(node, 3)) is None):
        return "has a W or B that is not constant"
    return None


def lower_state(editor: Editor, site: FactorSite, factors: Factors, shift: np.ndarray | None) -> None:
    """Replace each layer by one Scan for each direction; their factors are stored once for all layers that share R."""
    editor.at(site.readers[0].node)
    apart = _cell(site.readers[0].node).apart
    stored = [_store(editor, site, factors, direction, apart=apart) for direction in range(site.groups)]
    for reader in site.readers:
        editor.at(reader.node)
        _Layer(editor, site, reader.node, shift).lower(stored)


class _Layer:
    def __init__(self, editor: Editor, site: FactorSite, node: onnx_ir.Node, shift: np.ndarray | None) -> None:
        self._editor, self._node, self._dtype = editor, node, dtype_of(site)
        self._directions, self._hidden = site.groups, site.shape[1]
        self._gates = _GATES[node.op_type] * self._hidden
        self._shift = shift
        self._biased = shift is not None or _input(node, 3) is not None
        self._name = site_name(node)
        self._zeros: onnx_ir.Value | None = None
        self._axes: dict[int, onnx_ir.Value] = {}

    def lower(self, stored: Sequence[Sequence[Factor]]) -> None:
        cell, reverse = _cell(self._node), str_attr(self._node, "direction", "forward")
        biases = self._biases()
        products = self._products(biases if cell.whole_bias else biases[:, : self._gates])
        every: list[Sequence[onnx_ir.Value]] = []
        for direction in range(self._directions):
            state_bias = None if cell.whole_bias or not self._biased else biases[direction, self._gates :]
            backwards = reverse == "reverse" or direction == 1
            every.append(self._scan(cell, products[direction], stored[direction], state_bias, direction, backwards=backwards))
        self._outputs(every, cell.states)

    def _biases(self) -> np.ndarray:
        """[directions, 2 · gates], with the shift."""
        known = array(_input(self._node, 3))
        biases = np.zeros((self._directions, 2 * self._gates)) if known is None else known.astype(np.float64)
        if self._shift is not None:
            biases = biases + np.concatenate([np.zeros((self._directions, self._gates)), self._shift.reshape(self._directions, -1)], axis=1)
        return biases

    def _products(self, biases: np.ndarray) -> Sequence[onnx_ir.Value]:
        """What the input contributes to the gates at all steps, [steps, batch, gates] of each direction.

        Args:
            biases: [directions, 1 or 2 halves · gates]; the halves are added up.
        """
        editor, node, name = self._editor, self._node, self._name
        weight = node.inputs[1]
        data = array(weight)
        assert weight is not None
        assert data is not None, "refused before"
        whole = data.reshape(-1, data.shape[2])
        mapped = Mapped(Reshape(whole.shape, data.shape).then(TURN), (weight.name or "",))
        matrix = keep(editor, whole.T, data.dtype, f"{weight.name}.steps", mapped)
        total = biases.reshape(self._directions, -1, self._gates).sum(axis=1).reshape(-1)
        value = editor.op("MatMul", [node.inputs[0], matrix], name=f"{name}.steps")
        if self._biased:
            bias = editor.constant(total.astype(self._dtype), f"{name}.bias")
            value = editor.op("Add", [value, bias], name=f"{name}.steps")
        if self._directions == 1:
            return [value]
        return editor.ops("Split", [value], split_attributes(editor, 2, 2), names=[f"{name}.forward", f"{name}.backward"])

    def _scan(
        self, cell: Cell, steps: onnx_ir.Value, factors: Sequence[Factor], state_bias: np.ndarray | None, direction: int, *, backwards: bool
    ) -> Sequence[onnx_ir.Value]:
        """The final states, then the hidden state at all steps."""
        editor, count = self._editor, len(cell.states)
        hint = f"{self._name}.{direction}" if self._directions > 1 else self._name
        states = [self._initial(5 + number, direction) for number in range(count)]
        bias = None if state_bias is None else editor.constant(state_bias.astype(self._dtype), f"{hint}.state.bias")
        gates = Gates(factors, bias, self._hidden)
        batch = (shape_of(steps) or (None, None, None))[1]
        body = body_of(editor, cell, gates, steps, batch, hint)
        attributes: dict[str, AttributeValue] = {"body": body, "num_scan_inputs": 1}
        if backwards:
            attributes.update(scan_input_directions=[1], scan_output_directions=[1])
        made = editor.ops("Scan", [*states, steps], attributes, names=[*(f"{hint}.{state}" for state in cell.states), f"{hint}.states"])
        scan = made[0].producer()
        for inner in body:
            inner.metadata_props.update({} if scan is None else scan.metadata_props)
        return made

    def _initial(self, index: int, direction: int) -> onnx_ir.Value:
        """[batch, hidden]; zeros where it is not given."""
        editor, given, name = self._editor, _input(self._node, index), self._name
        if given is not None:
            number = editor.constant(np.array(direction, np.int64), f"{name}.direction")
            return editor.op("Gather", [given, number], {"axis": 0}, name=f"{name}.start")
        if self._zeros is None:
            self._zeros = self._nothing(f"{name}.start")
        return self._zeros

    def _nothing(self, name: str) -> onnx_ir.Value:
        editor = self._editor
        data = self._node.inputs[0]
        shape = shape_of(data)
        if shape is not None and isinstance(shape[1], int):
            return editor.constant(np.zeros((shape[1], self._hidden), self._dtype), name)
        whole = editor.op("Shape", [data], name=f"{name}.shape")
        batch = editor.op("Gather", [whole, integers(editor, [1], f"{name}.batch")], {"axis": 0}, name=f"{name}.batch")
        sizes = editor.op("Concat", [batch, integers(editor, [self._hidden], f"{name}.hidden")], {"axis": 0}, name=f"{name}.sizes")
        zero = onnx_ir.Tensor(np.zeros(1, self._dtype), name="zero")
        return editor.op("ConstantOfShape", [sizes], {"value": onnx_ir.AttrTensor("value", zero)}, name=name)

    def _outputs(self, every: Sequence[Sequence[onnx_ir.Value]], states: Sequence[str]) -> None:
        """Y: [steps, directions, batch, hidden] and the final states, [directions, batch, hidden] each."""
        count = len(states)
        for number, (output, source) in enumerate(zip(self._node.outputs, [count, *range(count)], strict=False)):
            if not output.uses() and not output.is_graph_output():
                continue
            axis = 1 if number == 0 else 0
            parts = [self._unsqueezed(made[source], axis, f"{output.name}.part") for made in every]
            whole = (
                parts[0] if len(parts) == 1 else self._editor.op("Concat", parts, {"axis": axis}, name=f"{output.name}.whole", like=output)
            )
            self._editor.replace(output, whole)

    def _unsqueezed(self, value: onnx_ir.Value, axis: int, name: str) -> onnx_ir.Value:
        if self._editor.program.opset < 13:
            return self._editor.op("Unsqueeze", [value], {"axes": [axis]}, name=name)
        if axis not in self._axes:
            self._axes[axis] = integers(self._editor, [axis], f"{self._name}.axis")
        return self._editor.op("Unsqueeze", [value, self._axes[axis]], name=name)


# ---- factors --------------------------------------------------------------------------------------------------------


def _store(editor: Editor, site: FactorSite, factors: Factors, direction: int, *, apart: bool) -> list[Factor]:
    """A direction's factors, [inputs, outputs] each.

    Args:
        editor: stands at the first layer.
        site: of a state.
        factors: dense stages, a group for each direction.
        direction: which one.
        apart: keep the new state's rows of the last stage apart, which a GRU applies to the state after its reset.
    """
    dtype, several = dtype_of(site), site.groups > 1
    name = f"{site.name}.{('forward', 'backward')[direction]}" if several else site.name
    arrays = [_group(stage, direction) for stage in factors.stages]
    lineage = gone([site.name], f"one of {len(arrays)} stages of {factors.structure}")
    if is_low_rank(factors):
        weight = weight_of(site).reshape(site.groups, -1, site.shape[1])
        before: ValueMap = Reshape(weight.shape[1:], (1, *weight.shape[1:]))
        before = Split(0, (1,) * site.groups, direction).then(before) if several else before
        lineage = lineage_of([site.name], before, weight[direction], arrays[1], arrays[0])
    stored: list[Factor] = []
    for number, (data, suffix) in enumerate(zip(arrays, suffixes(factors), strict=True)):
        if number < len(arrays) - 1 or not apart:
            stored.append(Factor(keep(editor, data.T, dtype, f"{name}.{suffix}", lineage.mapped(suffix, TURN))))
            continue
        hidden = site.shape[1]
        sizes = (2 * hidden, hidden)
        pieces = [
            keep(editor, piece.T, dtype, f"{name}.{suffix}.{part}", lineage.mapped(suffix, Split(0, sizes, at), TURN))
            for at, (part, piece) in enumerate((("gates", data[: sizes[0]]), ("new", data[sizes[0] :])))
        ]
        stored.append(Factor(pieces[0], pieces[1]))
    return stored


def _group(stage: Stage, direction: int) -> np.ndarray:
    rows = stage.array.shape[0] // stage.groups
    return stage.array[direction * rows : (direction + 1) * rows]


def _cell(node: onnx_ir.Node) -> Cell:
    return Cell.of(node.op_type, linear_before_reset=bool(int_attr(node, "linear_before_reset", 0)))


# ---- small things ---------------------------------------------------------------------------------------------------


def _input(node: onnx_ir.Node, index: int) -> onnx_ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None
