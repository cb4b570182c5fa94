"""The report of a run on a chip: tables, JSON, a page."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netwright.backends.cim.cost.account import Cost
from netwright.backends.cim.program.model import ChipProgram
from netwright.backends.cim.report.host import HostPart, host_parts
from netwright.backends.cim.report.layers import Layer, by_layer
from netwright.backends.cim.report.page import page
from netwright.backends.cim.report.rows import busiest_share
from netwright.backends.cim.report.tables import tables
from netwright.backends.cim.schedule.model import Timeline
from netwright.backends.cim.simulator.activity import Trace

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult


@dataclass(frozen=True)
class ChipReport:
    """What a run did, when, and what it cost; prints as tables, `to_dict()` gives JSON, `html()` a page.

    Attributes:
        chip: the program.
        trace: what its instructions did.
        timeline: when, for one sample.
        cost: what that took.
    """

    chip: ChipProgram
    trace: Trace
    timeline: Timeline
    cost: Cost

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The run by layer."""
        return by_layer(self.chip, self.trace, self.timeline, self.cost)

    @property
    def host(self) -> tuple[HostPart, ...]:
        """What ran on the host, why, and how much that was: no part of the other figures."""
        return host_parts(self.chip)

    def to_dict(self) -> dict[str, object]:
        """The report as JSON: energies in pJ, times in ns, areas in mm², shares 0 to 1; per sample."""
        cost, line, arch = self.cost, self.timeline, self.chip.arch
        return {
            "model": self.chip.name,
            "chip": {
                "name": arch.name,
                "node_nm": arch.node_nm,
                "voltage": arch.voltage,
                "tiles": arch.network.tiles,
                "arrays": arch.arrays,
            },
            "options": {"duplicate": self.chip.options.duplicate, "pipeline": self.chip.options.pipeline},
            "samples": cost.samples,
            "latency_ns": cost.latency_ns,
            "interval_ns": cost.interval_ns,
            "interval": {"samples": line.samples, "steady": line.steady, "bound_ns": line.bound_ns, "busiest_share": busiest_share(line)},
            "busiest": line.busiest,
            "waited_ns": line.waited_ns,
            "energy_pj": cost.energy_pj,
            "loading_pj": cost.loading_pj,
            "power_mw": cost.power_mw,
            "macs": cost.macs,
            "crossbar_macs": cost.crossbar_macs,
            "tops": cost.tops,
            "tops_per_watt": cost.tops_per_watt,
            "fj_per_mac": cost.fj_per_mac,
            "area_mm2": {"total": cost.total_mm2, **cost.area_mm2},
            "utilisation": {"arrays": cost.use.arrays, "cells": cost.use.cells, "packing": cost.use.packing, "busy": cost.use.busy},
            "converter_model": cost.converter,
            "components": cost.components,
            "layers": [layer.to_dict() for layer in self.layers],
            "tiles": [self._tile(tile) for tile in sorted(set(self.chip.tiles) | set(cost.use.tile_arrays))],
            "resources": [{"kind": one.kind, "tile": one.tile, "name": one.name, "busy_ns": one.busy_ns} for one in line.resources],
            "links": [{"from": a, "to": b, "bytes": amount} for (a, b), amount in line.link_bytes.items()],
            "host": [part.to_dict() for part in self.host],
            "notes": list(self.chip.notes),
            "fell_back": list(self.trace.fell_back),
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render with rich."""
        yield from tables(self.chip, self.trace, self.timeline, self.cost, self.layers, self.host)

    def __str__(self) -> str:
        from rich.console import Console

        sink = io.StringIO()
        Console(file=sink, width=140, color_system=None).print(self)
        return sink.getvalue()

    def html(self) -> str:
        """A page of its own: a chip map, a timeline by tile, energy by layer and component; no other files."""
        return page(self.chip, self.trace, self.timeline, self.cost, self.layers, self.host)

    def _tile(self, tile: int) -> dict[str, object]:
        use = self.cost.use
        return {
            "tile": tile,
            "arrays": use.tile_arrays.get(tile, 0.0),
            "busy": use.tile_busy.get(tile, 0.0),
            "energy_pj": dict(self.cost.tiles.get(tile, {})),
        }
