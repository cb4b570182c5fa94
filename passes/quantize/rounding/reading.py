"""Which rows the readers of each weight of a unit see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import onnx_ir

from netwright.passes.quantize.sites import GATES
from netwright.passes.statistics import Channels, Patches, Rows, States, layer_of

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.quantize.sites import Site
    from netwright.passes.quantize.units import Unit

WIDEST = 4608
"""Most features of which the whole second moment is taken (170 MB); wider layers are cut into runs of features."""


def views_of(program: Program, units: Iterable[Unit]) -> Mapping[str, tuple[Rows, ...]]:
    """The distinct views of each weight's readers in the main graph; look-ups see nothing. Weights that nothing sees are left out."""
    found: dict[str, dict[Rows, None]] = {}
    for unit in units:
        for site in unit.sites:
            if site.node.graph is not program.graph:
                continue
            for name, view in _views(site):
                found.setdefault(name, {})[view] = None
    return {name: tuple(views) for name, views in found.items()}


def view_of(node: onnx_ir.Node) -> Rows | None:
    """What the one weight of a layer is multiplied with; None of what is no layer, or whose input has no name."""
    layer = layer_of(node)
    if layer is None or not layer.data.name:
        return None
    stacks = _stacks(layer.channels, layer.taps)
    if layer.window is None:
        return Channels(layer.data.name, stacks, layer.channel_axis)
    return Patches(layer.data.name, layer.groups * stacks, layer.output.name or "", layer.window)


def _views(site: Site) -> list[tuple[str, Rows]]:
    node, names = site.node, [weight.name or "" for weight in site.weights]
    if site.kind in GATES:
        data, states = node.inputs[0], node.outputs[0] if node.outputs else None
        found: list[tuple[str, Rows]] = [(names[0], Channels(data.name, 1))] if data is not None and data.name else []
        # a GRU that resets before the product multiplies other states for its third gate
        resets = site.kind == "gru" and not node.attributes.get_int("linear_before_reset", 0)
        if states is not None and states.name and not resets:
            found.append((names[1], States(states.name, 2 if node.attributes.get_string("direction", "") == "bidirectional" else 1)))
        return found
    view = view_of(node)
    return [] if view is None else [(names[0], view)]


def _stacks(channels: int, taps: int) -> int:
    """Into how many runs the channels of a group are cut: the fewest that divide them and are narrow enough."""
    return next((count for count in range(1, channels + 1) if channels % count == 0 and channels // count * taps <= WIDEST), channels)
