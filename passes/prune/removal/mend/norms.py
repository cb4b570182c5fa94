"""Means over units: with zeros gone a mean is larger, by as much as there are fewer."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.coupling.rules.reducing import reduced_axes
from netwright.ir.maps import Affine, Mapped
from netwright.ir.opinfo import int_attr, site
from netwright.ir.program import array
from netwright.passes.prune.removal.mend.table import Change, RemovalError, mend


@mend("ReduceMean")
def mean(change: Change, node: onnx_ir.Node) -> None:
    """The mean over what is left, times its share of the whole."""
    x, output = node.inputs[0], node.outputs[0]
    if x is None:
        return
    share = 1.0
    for axis in reduced_axes(node, len(change.before(x, node))) or ():
        keep = change.keep(x, node, axis)
        if keep is not None:
            share *= float(keep.mean())
    if share == 1.0:
        return
    if output.is_graph_output():
        raise RemovalError(f"ReduceMean at %{site(node)} is an output, and its mean would have to be scaled.", place=site(node))
    readers = tuple(output.uses())
    dtype = output.dtype.numpy() if output.dtype is not None else np.dtype(np.float32)
    before = change.state.first_reader(output) or node
    editor = change.editor.at(before)
    scaled = editor.op("Mul", [output, editor.constant(np.array(share, dtype=dtype), f"{site(node)}.share")], name=f"{site(node)}.mean")
    scaled.type, scaled.shape = output.type, output.shape
    change.state.add_value(scaled, output, before)
    for use in readers:
        editor.set_input(use.node, use.idx, scaled)


@mend("RMSNormalization")
def rms_norm(change: Change, node: onnx_ir.Node) -> None:
    """With a share s of the features left, x / √(s·mean + ε) · γ is x / √(mean + ε/s) · γ/√s."""
    x, scale = node.inputs[0], node.inputs[1]
    if x is None or scale is None:
        return
    rank = len(change.before(x, node))
    keep = change.keep(x, node, int_attr(node, "axis", -1) % rank)
    if keep is None:
        return
    share = float(keep.mean())
    epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
    change.editor.set_attribute(node, "epsilon", epsilon / share)
    weights = array(scale)
    if weights is None:
        raise RemovalError(f"{node.op_type} at %{site(node)} has a computed scale.", place=site(node))
    factor = 1.0 / np.sqrt(share)
    scaled = (weights * factor).astype(weights.dtype)
    fresh = change.editor.at(node).constant(scaled, scale.name or "scale")
    key = change.state.key(scale, node)
    sources = change.editor.maps.get(scale.name or "", None)
    scaling = Affine(scale=factor)
    change.editor.map(
        fresh.name or "", Mapped(sources.map.then(scaling), sources.sources) if sources else Mapped(scaling, (scale.name or "",))
    )
    change.editor.set_input(node, 1, fresh)
    change.state.move(key, fresh)


@mend("SimplifiedLayerNormalization")
def contrib_rms_norm(change: Change, node: onnx_ir.Node) -> None:
    """The same, as ONNX Runtime writes it."""
    rms_norm(change, node)
