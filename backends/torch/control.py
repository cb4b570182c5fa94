"""Lowering of operators with subgraphs: each subgraph becomes a module, which `flow` calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import onnx_ir
import torch

from netwright.backends.torch.dtypes import torch_dtype
from netwright.backends.torch.flow import branch, flex_attention, loop, scan, sequence_map
from netwright.backends.torch.held import Held, InTensor, OnHost
from netwright.ir.errors import UnsupportedModelError
from netwright.ir.opinfo import int_attr, ints_attr, site

if TYPE_CHECKING:
    from torch import fx

    from netwright.backends.torch.builder import Argument, GraphBuilder


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
