"""A recurrent layer written out: one product for the inputs of all steps, then the steps one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.maps import Mapped, Permute, Reshape, Split, ValueMap
from netwright.ir.opinfo import site as site_name
from netwright.ir.program import array
from netwright.passes.quantize.recurrent.states import is_zero
from netwright.passes.recurrent.cells import Direction, Sizes, State, Step
from netwright.passes.recurrent.layer import Layer


@dataclass(slots=True, eq=False)
class Shared:
    """Turned weights by the weight that they were, so that layers that share it go on sharing.

    Attributes:
        stored: the parts of a weight, by the weight and how it is cut.
    """

    stored: dict[tuple[onnx_ir.Value, tuple[int, ...]], tuple[onnx_ir.Value, ...]] = field(
        default_factory=dict[tuple[onnx_ir.Value, tuple[int, ...]], tuple[onnx_ir.Value, ...]]
    )


def unroll_layer(editor: Editor, layer: Layer, shared: Shared, *, hoist: bool) -> None:
    """Replace a layer by its steps.

        X: [steps, batch, inputs]     X Wᵀ + b for all directions: [steps, batch, directions · gates · hidden]
        step t                        hₜ₋₁ Rᵀ: [1, batch, gates · hidden], then the cell's formulas

    Args:
        editor: the transaction.
        layer: without obstacles.
        shared: filled with the weights that this layer turns.
        hoist: whether X Wᵀ is one product for all steps, or one for each.
    """
    editor.at(layer.node)
    name, hidden, r = site_name(layer.node), layer.hidden, layer.input(2)
    assert r is not None, "an obstacle otherwise"
    inputs_bias, states_bias = _biases(layer)
    cuts = (2 * hidden, hidden) if layer.kind == "GRU" and not layer.before_reset else (layer.gates,)
    recurrent = _turned(editor, r, cuts * layer.directions, shared)
    inputs = _inputs(editor, layer, inputs_bias, shared, hoist=hoist)
    sizes = Sizes(editor, hidden, name)
    starts = [_starts(editor, layer, index) for index in (5, 6)]
    made: list[list[State]] = []
    for at, parts in enumerate(inputs):
        bias = None if states_bias is None else editor.constant(np.ascontiguousarray(states_bias[at]), f"{name}.{at}.recurrent.bias")
        matrices = recurrent[at * len(cuts) : (at + 1) * len(cuts)]
        direction = Direction(matrices, bias, _peepholes(editor, layer, at), layer.activations[at], sizes)
        hint = f"{name}.{at}" if layer.directions > 1 else name
        made.append(_steps(editor, layer, direction, parts, State(starts[0][at], starts[1][at]), hint, backwards=layer.backwards[at]))
    _replace_outputs(editor, layer, made)


def _inputs(editor: Editor, layer: Layer, bias: np.ndarray | None, shared: Shared, *, hoist: bool) -> Sequence[Sequence[onnx_ir.Value]]:
    """The inputs' product and bias of each direction at each step, [1, batch, gates · hidden]."""
    name, data, w = site_name(layer.node), layer.input(0), layer.input(1)
    assert data is not None, "a recurrent layer has its input"
    assert w is not None, "an obstacle otherwise"
    weight = _turned(editor, w, (layer.gates * layer.directions,), shared)[0]
    constant = None if bias is None else editor.constant(bias.reshape(-1), f"{name}.bias")
    halves = editor.constant(np.array([layer.gates] * 2, np.int64), f"{name}.directions") if layer.directions == 2 else None

    def projected(value: onnx_ir.Value, hint: str) -> Sequence[onnx_ir.Value]:
        product = editor.op("MatMul", [value, weight], name=f"{hint}.product")
        whole = product if constant is None else editor.op("Add", [product, constant], name=f"{hint}.inputs")
        return [whole] if halves is None else editor.ops("Split", [whole, halves], {"axis": 2}, names=[f"{hint}.inputs"] * 2)

    if hoist or layer.steps == 1:
        whole = projected(data, name)
        return [[one] if layer.steps == 1 else _split(editor, one, [1] * layer.steps, 0, f"{name}.input") for one in whole]
    steps = _split(editor, data, [1] * layer.steps, 0, f"{name}.step")
    return list(zip(*(projected(one, f"{name}.{at}") for at, one in enumerate(steps)), strict=True))


def _steps(
    editor: Editor, layer: Layer, direction: Direction, parts: Sequence[onnx_ir.Value], state: State, hint: str, *, backwards: bool
) -> list[State]:
    """The states after all steps, in the order of time."""
    states: list[State] = []
    for at, part in reversed(list(enumerate(parts))) if backwards else enumerate(parts):
        state = Step(editor, direction, f"{hint}.{at}").make(layer.kind, part, state, before_reset=layer.before_reset)
        states.append(state)
    return states[::-1] if backwards else states


def _replace_outputs(editor: Editor, layer: Layer, made: Sequence[Sequence[State]]) -> None:
    """Y [steps, directions, batch, hidden], and the last hidden and cell states [directions, batch, hidden]."""
    last = [states[0] if backwards else states[-1] for states, backwards in zip(made, layer.backwards, strict=True)]
    for index, output in enumerate(layer.node.outputs):
        if not output.uses() and not output.is_graph_output():
            continue
        if index:
            parts = [state.hidden if index == 1 else state.cell for state in last]
            editor.replace(output, _joined(editor, [part for part in parts if part is not None], 0, output))
            continue
        axes = editor.constant(np.array([1], np.int64), f"{output.name}.axes")
        all_steps = [_joined(editor, [state.hidden for state in states if state.hidden is not None], 0, None) for states in made]
        whole = [editor.op("Unsqueeze", [one, axes], name=f"{output.name}.direction") for one in all_steps]
        editor.replace(output, _joined(editor, whole, 1, output))


def _joined(editor: Editor, parts: Sequence[onnx_ir.Value], axis: int, like: onnx_ir.Value | None) -> onnx_ir.Value:
    """The parts along an axis; a single one as it is, but for an output of the graph, whose name must not go to a step's value."""
    name = "" if like is None else like.name or ""
    if len(parts) > 1:
        return editor.op("Concat", parts, {"axis": axis}, name=name, like=like)
    return editor.op("Identity", parts, name=name, like=like) if like is not None and like.is_graph_output() else parts[0]


def _turned(editor: Editor, weight: onnx_ir.Value, cuts: tuple[int, ...], shared: Shared) -> tuple[onnx_ir.Value, ...]:
    """A weight [directions, gates, inputs], its outputs cut into parts of these sizes, each [inputs, outputs]."""
    if (weight, cuts) in shared.stored:
        return shared.stored[weight, cuts]
    data = array(weight)
    assert data is not None, "an obstacle otherwise"
    name, graph = weight.name or "weight", weight.graph
    flat = data.reshape(-1, data.shape[2])
    parts: list[onnx_ir.Value] = []
    for at, size in enumerate(cuts):
        start = sum(cuts[:at])
        hint = name if len(cuts) == 1 else f"{name}.{at}"
        part = editor.constant(np.ascontiguousarray(flat[start : start + size].T), f"{hint}.turned", graph=graph)
        lineage: ValueMap = Reshape(flat.shape, data.shape)
        lineage = lineage if len(cuts) == 1 else lineage.then(Split(0, cuts, at))
        editor.map(part.name or "", Mapped(lineage.then(Permute((1, 0))), (name,)))
        parts.append(part)
    shared.stored[weight, cuts] = tuple(parts)
    return shared.stored[weight, cuts]


def _biases(layer: Layer) -> tuple[np.ndarray | None, np.ndarray | None]:
    """What is added to the input's product and to the state's, [directions, gates]; None for nothing.

    The state's goes with the input's, but where the reset gate multiplies it.
    """
    both = array(layer.input(3))
    if both is None:
        return None, None
    before, after = both[:, : layer.gates], both[:, layer.gates :]
    if layer.kind == "GRU" and layer.before_reset:
        return before, after
    return before + after, None


def _peepholes(editor: Editor, layer: Layer, direction: int) -> tuple[onnx_ir.Value, ...]:
    """Weights of i, o and f, each [hidden]."""
    known = array(layer.input(7)) if layer.kind == "LSTM" else None
    if known is None:
        return ()
    rows = known[direction].reshape(3, layer.hidden)
    return tuple(
        editor.constant(np.ascontiguousarray(row), f"{site_name(layer.node)}.peephole.{gate}")
        for gate, row in zip("iof", rows, strict=True)
    )


def _starts(editor: Editor, layer: Layer, index: int) -> Sequence[onnx_ir.Value | None]:
    """A state before the first step, by direction, [1, batch, hidden] each; None where it is zero."""
    value = layer.input(index)
    if value is None or is_zero(value):
        return [None] * layer.directions
    return [value] if layer.directions == 1 else _split(editor, value, [1, 1], 0, f"{value.name}.start")


def _split(editor: Editor, value: onnx_ir.Value, sizes: Sequence[int], axis: int, hint: str) -> Sequence[onnx_ir.Value]:
    numbers = editor.constant(np.array(sizes, np.int64), f"{hint}.sizes")
    return editor.ops("Split", [value, numbers], {"axis": axis}, names=[f"{hint}.{at}" for at in range(len(sizes))])
