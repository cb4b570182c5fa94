"""Finding what lost inputs: layers of the pruned program beside the same layers before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.coupling.group import Group
from netwright.ir.opinfo import int_attr, is_float, is_standard
from netwright.ir.opinfo import site as site_name
from netwright.ir.program import Program, constant
from netwright.passes.prune.compensation.mixing import MixSite
from netwright.passes.refit.bias import bias_place
from netwright.passes.refit.patches import WIDEST, PatchSite
from netwright.passes.refit.site import Site
from netwright.passes.rewrite import Miss
from netwright.passes.statistics import LinearLayer, layer_of

RECURRENT = ("LSTM", "GRU", "RNN")


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """Which indices of weights' axes are left, by the weights' names before."""

    removed: Mapping[tuple[str, int], np.ndarray]

    @classmethod
    def of(cls, groups: Sequence[Group], removed: Mapping[str, Sequence[int]]) -> Kept:
        """From units removed by group name."""
        found: dict[tuple[str, int], np.ndarray] = {}
        for group in groups:
            gone = np.asarray(removed.get(group.name, ()), np.int64)
            if not gone.size:
                continue
            for part in group.slices:
                mask = np.isin(part.units, gone)
                key = (part.weight, part.axis)
                found[key] = found[key] | mask if key in found else mask
        return cls(found)

    def along(self, weight: onnx_ir.Value, axis: int, left: int) -> np.ndarray | None:
        """The indices that are left; None where they are not as many as there are."""
        tensor = constant(weight)
        assert tensor is not None, "found by its constant weight"
        size = int(tensor.shape.numpy()[axis])
        mask = self.removed.get((weight.name or "", axis))
        kept = np.arange(size) if mask is None else np.flatnonzero(~mask)
        return kept if len(kept) == left else None


def find_sites(before: Program, program: Program, groups: Sequence[Group], removed: Mapping[str, Sequence[int]]) -> Iterator[Site | Miss]:
    """The layers whose inputs lost units, in graph order; a Miss for each that cannot be solved anew."""
    kept = Kept.of(groups, removed)
    seen: set[str] = set()
    for node in program.graph:
        layer = layer_of(node)
        if layer is not None:
            found = _linear(before, layer, kept, seen)
            if found is not None:
                yield found
        elif is_standard(node, "ConvTranspose", *RECURRENT):
            yield from _mixing(before, node, kept, seen)
    yield from _others(before, groups, removed, seen)


def _linear(before: Program, layer: LinearLayer, kept: Kept, seen: set[str]) -> Site | Miss | None:
    bias = bias_place(layer)
    name = bias.output.name or ""
    old = _old_layer(before, name)
    if old is None:
        return None
    seen.add(old.weight.name or "")
    if layer.channels == old.channels:
        return None
    outputs = kept.along(old.weight, old.out_axis, layer.outputs)
    if outputs is None or layer.groups != old.groups:
        return Miss("left as removal made it: its outputs are not those that the plan leaves", name)
    shared = _sharing(layer.weight, layer.node)
    if shared:
        return Miss(shared, name)
    if layer.channels * layer.taps <= WIDEST:
        return PatchSite(name, layer.node, old.node, layer, old, layer.data.name or "", bias, outputs)
    inputs = kept.along(old.weight, old.in_axis, layer.channels)
    if layer.groups > 1 or inputs is None:
        return Miss(
            f"left as removal made it: patches of {layer.channels} channels and {layer.taps} taps are more than {WIDEST} features, and "
            f"channels alone are fitted only where there are no groups",
            name,
        )
    return MixSite(
        name, layer.node, old.node, layer.weight, old.weight, old.in_axis, old.out_axis, layer.data.name or "", old.data.name or "",
        layer.channel_axis, inputs, outputs, bias=bias,
    )  # fmt: skip


def _mixing(before: Program, node: onnx_ir.Node, kept: Kept, seen: set[str]) -> Iterator[Site | Miss]:
    name = site_name(node)
    old = _old_node(before, node)
    if old is None:
        return
    recurrent = node.op_type in RECURRENT
    for index in (1, 2) if recurrent else (1,):
        weight, old_weight = node.inputs[index], old.inputs[index]
        if weight is None or old_weight is None or constant(weight) is None or constant(old_weight) is None:
            continue
        seen.add(old_weight.name or "")
        found = _mix(node, old, index, weight, old_weight, name, kept)
        if found is not None:
            yield found


def _mix(
    node: onnx_ir.Node, old: onnx_ir.Node, index: int, weight: onnx_ir.Value, old_weight: onnx_ir.Value, name: str, kept: Kept
) -> Site | Miss | None:
    in_axis, out_axis = (2, 1) if node.op_type in RECURRENT else (0, 1)
    shape, old_shape = (tuple(constant(value).shape.numpy()) for value in (weight, old_weight))  # type: ignore[union-attr]
    if shape[in_axis] == old_shape[in_axis]:
        return None
    if not is_float(weight.dtype):
        return Miss(f"left as removal made it: its weight %{weight.name} is no float", name)
    inputs = kept.along(old_weight, in_axis, shape[in_axis])
    outputs = kept.along(old_weight, out_axis, shape[out_axis])
    if inputs is None or outputs is None:
        return Miss("left as removal made it: its channels are not those that the plan leaves", name)
    if node.op_type == "ConvTranspose" and int_attr(node, "group", 1) != 1:
        return Miss("left as removal made it: transposed convolutions in groups are not solved anew", name)
    shared = _sharing(weight, node)
    if shared:
        return Miss(shared, name)
    states = index == 2
    data, old_data = (one.outputs[0] if states else one.inputs[0] for one in (node, old))
    if data is None or old_data is None or not data.name or not old_data.name:
        return Miss("left as removal made it: its states are no value of the graph (only the last one is read)", name)
    if states and node.op_type == "GRU" and not int_attr(node, "linear_before_reset", 0):
        return Miss(
            "left as removal made it: with linear_before_reset=0 its weight sees states times the reset gate, which no value is", name
        )
    if states and int_attr(node, "layout", 0):
        return Miss("left as removal made it: states with the batch first are not solved anew", name)
    axis = 1 if node.op_type == "ConvTranspose" else -1
    return MixSite(
        name, node, old, weight, old_weight, in_axis, out_axis, data.name, old_data.name, axis, inputs, outputs, states
    )  # fmt: skip


def _others(before: Program, groups: Sequence[Group], removed: Mapping[str, Sequence[int]], seen: set[str]) -> Iterator[Miss]:
    """Consumers that nothing above knows: inside subgraphs, of computed weights, or of other operators."""
    inner = {site_name(node): node for node in before.nodes()}
    told: set[str] = set()
    for group in groups:
        if not len(removed.get(group.name, ())):
            continue
        for part in group.consuming:
            if part.weight in seen or part.weight in told:
                continue
            told.add(part.weight)
            node = inner.get(part.nodes[0]) if part.nodes else None
            kind = "a node" if node is None else node.op_type
            where = " inside a subgraph or function" if node is not None and node.graph is not before.graph else ""
            reason = (
                f"left as removal made it: {kind}{where} reads %{part.weight}; only Conv, ConvTranspose, MatMul, Gemm and recurrent "
                "layers of the main graph with constant weights are solved anew"
            )
            yield Miss(reason, part.nodes[0] if part.nodes else part.weight)


def _old_layer(before: Program, name: str) -> LinearLayer | None:
    """The layer that made the value of this name, with or without an Add behind it."""
    try:
        node = before.value(name).producer()
    except KeyError:
        return None
    if node is None:
        return None
    layer = layer_of(node)
    if layer is not None or not is_standard(node, "Add"):
        return layer
    return next((found for value in node.inputs if value is not None and (found := _made_by(value)) is not None), None)


def _made_by(value: onnx_ir.Value) -> LinearLayer | None:
    node = value.producer()
    return None if node is None else layer_of(node)


def _old_node(before: Program, node: onnx_ir.Node) -> onnx_ir.Node | None:
    """The node that made values of the same names."""
    for output in node.outputs:
        if output.name:
            try:
                old = before.value(output.name).producer()
            except KeyError:
                continue
            return old if old is not None and old.op_type == node.op_type else None
    return None


def _sharing(weight: onnx_ir.Value, node: onnx_ir.Node) -> str:
    """Why a weight cannot change for this node alone; empty where it can."""
    pending, readers = [weight], set[onnx_ir.Node]()
    while pending:
        value = pending.pop()
        if value.is_graph_output():
            return f"left as removal made it: its weight %{weight.name} is an output of the graph"
        for user, _ in value.uses():
            if user is node or is_standard(user, "Shape", "Size"):
                continue
            if is_standard(user, "Transpose", "Identity"):
                pending.extend(user.outputs)
            else:
                readers.add(user)
    if not readers:
        return ""
    other = min(site_name(reader) for reader in readers)
    return f"left as removal made it: its weight %{weight.name} is shared with %{other}"
