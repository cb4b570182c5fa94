"""Ties: sites that share a weight are quantized together or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx_ir

from netwright.passes.quantize.sites import GATES, Site
from netwright.passes.rewrite import site_of


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """Sites that share weights, in graph order; most units have one site.

    Attributes:
        sites: at least one.
    """

    sites: tuple[Site, ...]

    @property
    def weights(self) -> tuple[onnx_ir.Value, ...]:
        """The constants that the sites read, each once."""
        return tuple(dict.fromkeys(weight for site in self.sites for weight in site.weights))

    @property
    def tables(self) -> tuple[Site, ...]:
        """The look-ups among the sites."""
        return tuple(site for site in self.sites if site.kind == "table")

    @property
    def products(self) -> tuple[Site, ...]:
        """The products among the sites."""
        return tuple(site for site in self.sites if site.kind == "linear")

    @property
    def convolutions(self) -> tuple[Site, ...]:
        """The convolutions among the sites."""
        return tuple(site for site in self.sites if site.kind == "conv")

    def obstacle(self) -> str | None:
        """Why the weight cannot become integers for all of its readers; None where it can."""
        for weight in self.weights:
            if weight.is_graph_output():
                return f"left float: its weight %{weight.name} is an output of the graph"
            stranger = self._stranger(weight)
            if stranger is not None:
                return f"left float: its weight %{weight.name} is also read by {stranger.op_type} %{site_of(stranger)}, which stays float"
        directions = {site.transposed for site in self.products}
        if len(directions) > 1 or (self.tables and directions == {False}):
            return f"left float: %{self.weights[0].name} is read by rows and by columns, which would need different scales"
        return None

    def _stranger(self, weight: onnx_ir.Value) -> onnx_ir.Node | None:
        """A reader of the weight that is none of the sites, nor a Transpose that only they read."""
        seats = {
            (site.node, index)
            for site in self.sites
            for index, value in enumerate(site.node.inputs)
            if _is_seat(site, index, value, weight)
        }
        for user, index in weight.uses():
            if (user, index) in seats:
                continue
            if user.op_type != "Transpose" or user.domain:
                return user
            for reader, seat in user.outputs[0].uses():
                if (reader, seat) not in seats:
                    return reader
            if user.outputs[0].is_graph_output():
                return user
        return None


def units_of(sites: Iterable[Site]) -> list[Unit]:
    """Group sites by shared weights, in the order of each group's first site."""
    every = tuple(sites)
    group_of: dict[onnx_ir.Value, list[int]] = {}
    for position, site in enumerate(every):
        joined = [position, *(member for weight in site.weights for member in group_of.get(weight, []))]
        group = sorted(set(joined))
        group_of.update((weight, group) for member in group for weight in every[member].weights)
    groups = {group[0]: group for group in group_of.values()} | {place: [place] for place, site in enumerate(every) if not site.weights}
    return [Unit(tuple(every[member] for member in group)) for _, group in sorted(groups.items())]


def _is_seat(site: Site, index: int, value: onnx_ir.Value | None, weight: onnx_ir.Value) -> bool:
    """True where input `index` of the site takes the weight as its weight (and not, say, as the activation)."""
    if site.kind in GATES:
        return index in (1, 2) and value is weight
    if index != (0 if site.kind == "table" else 1) or value is None:
        return False
    if value is weight:
        return True
    producer = value.producer()
    return producer is not None and producer.op_type == "Transpose" and producer.inputs[0] is weight
