"""Convolutions between integers: ONNX Runtime's QLinearConv."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.program import array
from netwright.passes.quantize.choice import Static
from netwright.passes.quantize.rounding import Rounder
from netwright.passes.quantize.sites import Site
from netwright.passes.quantize.static.pairs import Pairs
from netwright.passes.quantize.static.regions import Regions
from netwright.passes.quantize.static.stored import Form, Store, store_bias, swap_constant
from netwright.passes.quantize.static.strides import Stride, stride_of


def quantize_convolutions(
    editor: Editor, sites: tuple[Site, ...], choice: Static, rounder: Rounder, pairs: Pairs, regions: Regions, *, trainable: bool
) -> None:
    """Put the convolutions that share a weight, their inputs, biases and results on grids."""
    steps = [np.float32(pairs.read(editor, site.node, 0).scale) for site in sites]
    rank = len(sites[0].weights[0].shape or ())
    biases = [np.abs(bias_of(site)) / step for site, step in zip(sites, steps, strict=True)]
    store = Store(sites[0].weights[0], choice, rounder, biases, trainable)
    for site, step in zip(sites, steps, strict=True):
        node = site.node
        stride = stride_of(site) if choice.fold_stride and not trainable else None
        form = Form(tuple(range(rank)), 0, stride=stride if isinstance(stride, Stride) else None)
        stored = store.get(editor.at(node), form)
        swap_constant(editor, node, 1, stored.read(editor))
        if len(node.inputs) > 2 and node.inputs[2] is not None and not trainable:
            bias = node.inputs[2]
            swap_constant(editor, node, 2, store_bias(editor, bias_of(site), stored.steps * step, bias.name or "bias", [(bias, 1.0)]))
        if form.stride is not None:
            _on_phases(editor, node, form.stride)
        pairs.settle(editor, regions.tails[node].last)


def _on_phases(editor: Editor, node: onnx_ir.Node, stride: Stride) -> None:
    """Have a convolution of stride 2 read its input's four phases as channels."""
    source, name = node.inputs[0], node.outputs[0].name
    if any(stride.odd):
        more = editor.constant(np.array([0, 0, 0, 0, 0, 0, *(int(odd) for odd in stride.odd)], np.int64), f"{name}.more")
        source = editor.op("Pad", [source, more], name=f"{name}.even")
    phases = editor.op("SpaceToDepth", [source], {"blocksize": 2}, name=f"{name}.phases")
    editor.set_input(node, 0, phases)
    for attribute, value in (("strides", [1, 1]), ("pads", stride.pads), ("kernel_shape", list(stride.taps)), ("auto_pad", None)):
        editor.set_attribute(node, attribute, value)


def bias_of(site: Site) -> np.ndarray:
    """A convolution's bias, [outputs]; zeros where it has none."""
    value = site.node.inputs[2] if len(site.node.inputs) > 2 else None
    data = array(value)
    return np.zeros(site.columns, np.float32) if data is None else data.astype(np.float32)
