"""Which rows the readers of each weight of a unit see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

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


def _views(site: Site) -> list[tuple[str, Rows]]:
    node, names = site.node, [weight.name or "" for weight in site.weights]
    if site.kind == "lstm":
        data, states = node.inputs[0], node.outputs[0] if node.outputs else None
        found: list[tuple[str, Rows]] = [(names[0], Channels(data.name, 1))] if data is not None and data.name else []
        if states is not None and states.name:
            found.append((names[1], States(states.name, 2 if node.attributes.get_string("direction", "") == "bidirectional" else 1)))
        return found
    layer = layer_of(node)
    if layer is None or not layer.data.name:
        return []
    stacks = _stacks(layer.channels, layer.taps)
    if layer.window is None:
        return [(names[0], Channels(layer.data.name, stacks, layer.channel_axis))]
    return [(names[0], Patches(layer.data.name, layer.groups * stacks, layer.output.name or "", layer.window))]


def _stacks(channels: int, taps: int) -> int:
    """Into how many runs the channels of a group are cut: the fewest that divide them and are narrow enough."""
    return next((count for count in range(1, channels + 1) if channels % count == 0 and channels // count * taps <= WIDEST), channels)
