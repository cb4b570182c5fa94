"""If, Loop and Scan: their subgraphs are modules, called by plain Python control flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import onnx_ir
import torch

from netwright.backends.torch.dtypes import torch_dtype
from netwright.backends.torch.held import Held, InTensor, OnHost
from netwright.ir.errors import UnsupportedModelError
from netwright.ir.opinfo import int_attr, ints_attr, site

if TYPE_CHECKING:
    from torch import fx

    from netwright.backends.torch.builder import Argument, GraphBuilder

Branch = Callable[..., "tuple[torch.Tensor, ...]"]
"""The module of a subgraph: its inputs, then what it captures → its outputs."""


# ---- at run time -------------------------------------------------------------------------------------------------


def branch(
    condition: torch.Tensor | bool, then: Branch, otherwise: Branch, then_args: Sequence[object], else_args: Sequence[object]
) -> tuple[torch.Tensor, ...]:
    """The outputs of one of two subgraphs."""
    return then(*then_args) if _holds(condition) else otherwise(*else_args)


def loop(
    trips: torch.Tensor | int | None,
    condition: torch.Tensor | bool | None,
    states: Sequence[object],
    body: Branch,
    captured: Sequence[object],
    scanned: Sequence[tuple[torch.dtype, tuple[int, ...]]],
    device: torch.device,
) -> tuple[object, ...]:
    """ONNX's Loop: the body again and again, until it says no or the trips are used up.

    Args:
        trips: how often at most; None for no limit.
        condition: whether to begin; None for yes.
        states: what the body hands on from trip to trip.
        body: (trip, condition, *states, *captured) → (condition, *states, *scan outputs of this trip).
        captured: what the body takes from around it.
        scanned: type and shape of each scan output, for a loop that never runs.
        device: of tensors made here.

    Returns:
        The last states, then the scan outputs stacked along a new first axis.
    """
    limit = None if trips is None else int(trips)
    goes_on = condition is None or _holds(condition)
    values = list(states)
    rows: list[list[torch.Tensor]] = [[] for _ in scanned]
    trip = 0
    while goes_on and (limit is None or trip < limit):
        going = torch.tensor(True, device=device)
        again, *made = body(torch.tensor(trip, device=device), going, *values, *captured)
        values = made[: len(values)]
        for row, part in zip(rows, made[len(values) :], strict=True):
            row.append(part)
        goes_on = _holds(again)
        trip += 1
    stacked = [
        torch.stack(row) if row else torch.empty((0, *shape), dtype=dtype, device=device)
        for row, (dtype, shape) in zip(rows, scanned, strict=True)
    ]
    return (*values, *stacked)


def _holds(condition: torch.Tensor | bool | Sequence[bool]) -> bool:
    return bool(condition[0]) if isinstance(condition, list) else bool(condition)


def scan(
    states: Sequence[torch.Tensor],
    inputs: Sequence[torch.Tensor],
    body: Branch,
    captured: Sequence[object],
    *,
    input_axes: Sequence[int],
    input_directions: Sequence[int],
    output_axes: Sequence[int],
    output_directions: Sequence[int],
) -> tuple[torch.Tensor, ...]:
    """ONNX's Scan: the body for each slice of the inputs along their axes.

    Returns:
        The last states, then the scan outputs stacked along their axes.
    """
    length = inputs[0].shape[input_axes[0]]
    values: list[torch.Tensor] = list(states)
    rows: list[list[torch.Tensor]] = [[] for _ in output_axes]
    for step in range(length):
        slices = [
            part.select(axis, length - 1 - step if backward else step)
            for part, axis, backward in zip(inputs, input_axes, input_directions, strict=True)
        ]
        made = body(*values, *slices, *captured)
        values = list(made[: len(values)])
        for row, part in zip(rows, made[len(values) :], strict=True):
            row.append(part)
    stacked = [
        torch.stack(row[::-1] if backward else row, dim=axis)
        for row, axis, backward in zip(rows, output_axes, output_directions, strict=True)
    ]
    return (*values, *stacked)


def sequence_map(values: Sequence[object], body: Branch, captured: Sequence[object]) -> tuple[list[torch.Tensor], ...]:
    """ONNX's SequenceMap: the body for each element of the first sequence, beside those of the others; tensors go to each."""
    first = values[0]
    assert isinstance(first, list), "the first input is a sequence"
    made = [
        body(*(value[place] if isinstance(value, list) else value for value in values), *captured)
        for place in range(len(cast("list[object]", first)))
    ]
    return tuple(list(column) for column in zip(*made, strict=True))


def flex_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    score_mod: Branch | None,
    score_captured: Sequence[object],
    prob_mod: Branch | None,
    prob_captured: Sequence[object],
    *,
    scale: float | None,
    precision: torch.dtype | None,
) -> torch.Tensor:
    """Attention whose scores, and the probabilities made of them, pass through functions.

    Args:
        query: [batch, heads, length, width].
        key: [batch, groups, keys, width]; each group serves heads / groups heads side by side.
        value: [batch, groups, keys, value width].
        score_mod: what scores [batch, heads, length, keys] pass through.
        score_captured: what it takes besides.
        prob_mod: what probabilities pass through.
        prob_captured: what it takes besides.
        scale: of the scores; 1/√width where not given.
        precision: of scores and softmax; float32 where not given, or float64 for that.
    """
    repeats = query.shape[1] // key.shape[1]
    keys, values = (part.repeat_interleave(repeats, dim=1) if repeats > 1 else part for part in (key, value))
    wide = precision or (torch.float64 if query.dtype == torch.float64 else torch.float32)
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    scores = query.to(wide) @ keys.to(wide).transpose(-1, -2) * factor
    if score_mod is not None:
        (scores,) = score_mod(scores, *score_captured)
    weights = scores.softmax(-1)
    if prob_mod is not None:
        (weights,) = prob_mod(weights, *prob_captured)
    return (weights.to(wide) @ values.to(wide)).to(query.dtype)


# ---- at lowering -------------------------------------------------------------------------------------------------


def lower_if(builder: GraphBuilder, node: onnx_ir.Node) -> None:
    """Lower an If; where its condition is known, only the branch taken."""
    assert node.inputs[0] is not None
    condition = builder.condition(node.inputs[0])
    graphs = [node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
    if isinstance(condition, bool):
        chosen = graphs[0 if condition else 1]
        builder.lower(list(chosen))
        for output, made in zip(node.outputs, chosen.outputs, strict=True):
            builder.bind(output, builder.held(made))
        return
    (then, then_args), (otherwise, else_args) = (
        _subgraph(builder, graph, f"{site(node)}_{name}") for graph, name in zip(graphs, ("then", "else"), strict=True)
    )
    made = builder.call(branch, (condition, then, otherwise, then_args, else_args), {}, name=f"{site(node)}_all")
    builder.bind_outputs(node, made, _as_tensor, several=True)


def lower_loop(builder: GraphBuilder, node: onnx_ir.Node) -> None:
    """Lower a Loop."""
    trips, condition, *states = (*node.inputs, None, None)[: max(2, len(node.inputs))]
    body = node.attributes["body"].as_graph()
    module, captured = _subgraph(builder, body, f"{site(node)}_body")
    count = len([state for state in states if state is not None])
    scanned = [_row_type(output, node) for output in body.outputs[1 + count :]]
    args = (
        None if trips is None else builder.number_or_tensor(trips),
        None if condition is None else builder.condition(condition),
        [builder.tensor(state) for state in states if state is not None],
        module,
        captured,
        scanned,
        builder.device(),
    )
    made = builder.call(loop, args, {}, name=f"{site(node)}_all")
    builder.bind_outputs(node, made, _as_tensor, several=True)


def lower_scan(builder: GraphBuilder, node: onnx_ir.Node) -> None:
    """Lower a Scan of opset 9 and up."""
    body = node.attributes["body"].as_graph()
    scans = int_attr(node, "num_scan_inputs", 1)
    values = [builder.tensor(value) for value in node.inputs if value is not None]
    states, inputs = values[: len(values) - scans], values[len(values) - scans :]
    outputs = len(body.outputs) - len(states)
    module, captured = _subgraph(builder, body, f"{site(node)}_body")
    keywords: Mapping[str, object] = {
        "input_axes": ints_attr(node, "scan_input_axes", (0,) * scans),
        "input_directions": ints_attr(node, "scan_input_directions", (0,) * scans),
        "output_axes": ints_attr(node, "scan_output_axes", (0,) * outputs),
        "output_directions": ints_attr(node, "scan_output_directions", (0,) * outputs),
    }
    made = builder.call(scan, (states, inputs, module, captured), keywords, name=f"{site(node)}_all")
    builder.bind_outputs(node, made, _as_tensor, several=True)


def lower_sequence_map(builder: GraphBuilder, node: onnx_ir.Node) -> None:
    """Lower a SequenceMap."""
    module, captured = _subgraph(builder, node.attributes["body"].as_graph(), f"{site(node)}_body")
    values = [builder.tensor(value) for value in node.inputs if value is not None]
    made = builder.call(sequence_map, (values, module, captured), {}, name=f"{site(node)}_all")
    builder.bind_outputs(node, made, _as_tensor, several=True)


def lower_flex_attention(builder: GraphBuilder, node: onnx_ir.Node) -> None:
    """Lower a FlexAttention, whose scores and probabilities pass through subgraphs."""
    modules: list[Argument] = []
    for name in ("score_mod", "prob_mod"):
        graph = node.attributes[name].as_graph() if name in node.attributes else None
        modules.extend(_subgraph(builder, graph, f"{site(node)}_{name}") if graph is not None else (None, []))
    query, key, value = (builder.tensor(value) for value in node.inputs if value is not None)
    precision = int_attr(node, "softmax_precision", 0)
    keywords = {
        "scale": node.attributes["scale"].as_float() if "scale" in node.attributes else None,
        "precision": torch_dtype(precision) if precision else None,
    }
    made = builder.call(flex_attention, (query, key, value, *modules), keywords, name=site(node))
    builder.bind_outputs(node, made, _as_tensor, several=False)


CONTROL: Mapping[tuple[str, str], Callable[[GraphBuilder, onnx_ir.Node], None]] = {
    ("", "If"): lower_if,
    ("", "Loop"): lower_loop,
    ("", "Scan"): lower_scan,
    ("", "SequenceMap"): lower_sequence_map,
    ("ai.onnx.preview", "FlexAttention"): lower_flex_attention,
}
"""How operators with subgraphs are lowered, by domain and name."""


def _subgraph(builder: GraphBuilder, graph: onnx_ir.Graph, name: str) -> tuple[fx.Node, list[Argument]]:
    """A subgraph as a module: the node that fetches it, and what it captures."""
    inner = builder.child()
    for value in graph.inputs:
        inner.take(value)
    inner.lower(list(graph))
    inner.give(graph.outputs, single=False)
    path = inner.module(name)
    captured: list[Argument] = [held.value if isinstance(held, OnHost) else held.node for held in inner.captured]
    return builder.get(path), captured


def _as_tensor(value: onnx_ir.Value, made: fx.Node) -> Held:
    return InTensor(made)


def _row_type(value: onnx_ir.Value, node: onnx_ir.Node) -> tuple[torch.dtype, tuple[int, ...]]:
    if value.dtype is None:
        raise UnsupportedModelError(f"The type of the loop's output %{value.name} is not known.", place=site(node))
    sizes = () if value.shape is None else tuple(size if isinstance(size, int) else 0 for size in value.shape)
    return torch_dtype(value.dtype), sizes
