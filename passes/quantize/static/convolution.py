"""Convolutions between integers: ONNX Runtime's QLinearConv."""

from __future__ import annotations

import numpy as np

from netwright.ir.editor import Editor
from netwright.ir.program import array
from netwright.passes.quantize.choice import Static
from netwright.passes.quantize.rounding import Rounder
from netwright.passes.quantize.sites import Site
from netwright.passes.quantize.static.pairs import Pairs
from netwright.passes.quantize.static.regions import Regions
from netwright.passes.quantize.static.stored import Form, store_bias, store_weight


def quantize_convolutions(
    editor: Editor, sites: tuple[Site, ...], choice: Static, rounder: Rounder, pairs: Pairs, regions: Regions, *, trainable: bool
) -> None:
    """Put the convolutions that share a weight, their inputs, biases and results on grids."""
    steps = [np.float32(pairs.read(editor, site.node, 0).scale) for site in sites]
    weight = sites[0].weights[0]
    rank = len(weight.shape or ())
    form = Form(tuple(range(rank)), 0)
    biases = [bias_of(site) / step for site, step in zip(sites, steps, strict=True)]
    for site, step in zip(sites, steps, strict=True):
        node = site.node
        stored, scale = store_weight(editor.at(node), weight, form, choice, rounder, biases, trainable=trainable)
        editor.set_input(node, 1, stored)
        if len(node.inputs) > 2 and node.inputs[2] is not None and not trainable:
            editor.set_input(node, 2, store_bias(editor, bias_of(site), scale * step, node.inputs[2].name or "bias"))
        pairs.settle(editor, regions.tails[node].last)


def bias_of(site: Site) -> np.ndarray:
    """A convolution's bias, [outputs]; zeros where it has none."""
    value = site.node.inputs[2] if len(site.node.inputs) > 2 else None
    data = array(value)
    return np.zeros(site.columns, np.float32) if data is None else data.astype(np.float32)
