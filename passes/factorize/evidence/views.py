"""What the readers of a site see."""

from __future__ import annotations

from netwright.passes.factorize.sites.site import FactorSite, Reader
from netwright.passes.statistics import Channels, Entries, LinearLayer, Patches, States, View, layer_of

WIDEST = 4096
"""Most features (channels of a group, times taps) of which the whole second moment is taken; of wider convolutions that of channels."""


def views_of(site: FactorSite) -> tuple[View, ...]:
    """The distinct views of a site's readers; none where what they see is no value of its own.

    A table that is also the head is seen as the head.
    """
    found = [_view(site, reader) for reader in site.readers if reader.kind == site.kind]
    return tuple(dict.fromkeys(view for view in found if view is not None))


def _view(site: FactorSite, reader: Reader) -> View | None:
    node, data = reader.node, reader.data
    if data is None or not data.name:
        return None
    if site.kind == "table":
        return Entries(data.name, 1, site.shape[1])
    if site.kind == "state":
        states = node.outputs[0] if node.outputs else None
        return States(states.name, site.groups) if states is not None and states.name else None
    if site.kind == "deconv":
        return Channels(data.name, site.groups, 1)
    if site.kind == "recurrent":
        return Channels(data.name, 1)
    layer = layer_of(node)
    if layer is None:
        return None
    return _patches(site, layer, data.name) if layer.window is not None else Channels(data.name, 1, layer.channel_axis)


def _patches(site: FactorSite, layer: LinearLayer, data: str) -> View:
    if layer.channels * layer.taps > WIDEST:
        return Channels(data, site.groups, 1)
    assert layer.window is not None, "asked of convolutions"
    return Patches(data, site.groups, layer.output.name or "", layer.window)
