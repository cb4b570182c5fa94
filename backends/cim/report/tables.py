"""The report as rich tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from netwright.backends.cim.cost.account import Cost
from netwright.backends.cim.program.model import ChipProgram
from netwright.backends.cim.report.layers import HostPart, Layer
from netwright.backends.cim.report.quantities import count, energy, percent, quantity, time
from netwright.backends.cim.schedule.model import Timeline
from netwright.backends.cim.simulator.activity import Trace

if TYPE_CHECKING:
    from rich.table import Table

MOST_LAYERS = 60
"""Rows of the table by layer; JSON has all."""


def tables(
    chip: ChipProgram, trace: Trace, timeline: Timeline, cost: Cost, layers: Sequence[Layer], host: Sequence[HostPart]
) -> Iterator[Table | str]:
    """Summary, components, layers, and what a user must know."""
    from rich.markup import escape

    yield _summary(chip, timeline, cost)
    yield _components(cost)
    yield _layers(layers, cost)
    for part in host:
        yield escape(f"on the host: {part.name}: {part.why}")
    for line in (*chip.notes, *trace.fell_back):
        yield escape(line)


def summary(chip: ChipProgram, timeline: Timeline, cost: Cost) -> list[tuple[str, str]]:
    """The run in lines of two cells."""
    use, arch = cost.use, chip.arch
    used = f"arrays {percent(use.arrays)}, cells {percent(use.cells)}, packing {percent(use.packing)}, time {percent(use.busy)}"
    per_second = 1e9 / cost.interval_ns if cost.interval_ns else 0.0
    beside = f", and {len(chip.host)} instructions of the host, whose time and energy are not counted" if chip.host else ""
    rows = [
        ("chip", f"{arch.name}, {arch.node_nm:g} nm, {arch.voltage:g} V, {arch.network.tiles} tiles of {arch.tile_arrays} arrays"),
        ("latency", time(cost.latency_ns) + beside),
        ("interval", f"{time(cost.interval_ns)}, {count(per_second)} samples/s; busiest: {timeline.busiest}"),
        ("waiting for ports and links", time(timeline.waited_ns)),
        ("energy", f"{energy(cost.energy_pj)} per sample, mean of {cost.samples}; first load of the weights {energy(cost.loading_pj)}"),
        ("power", quantity(cost.power_mw * 1e-3, "W")),
        ("operations", f"{count(cost.macs)} MACs, {percent(cost.crossbar_macs / cost.macs if cost.macs else 0.0)} on crossbars"),
        ("efficiency", f"{cost.tops:.3g} TOPS, {cost.tops_per_watt:.3g} TOPS/W, {energy(cost.fj_per_mac * 1e-3)} a MAC"),
        ("area", f"{cost.total_mm2:.3g} mm²"),
        ("utilisation", used),
    ]
    return [*rows, ("converters", f"costed by the model {cost.converter}")] if cost.converter else rows


def _summary(chip: ChipProgram, timeline: Timeline, cost: Cost) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "", title=escape(f"{chip.name} on {chip.arch.name}"), title_justify="left", show_header=False)
    for name, value in summary(chip, timeline, cost):
        table.add_row(name, escape(value))
    return table


def _components(cost: Cost) -> Table:
    from rich.table import Table

    table = Table("component", "energy", "share", "area mm²", title="Components", title_justify="left")
    used = cost.components
    for name in dict.fromkeys([*used, *cost.area_mm2]):
        area = cost.area_mm2.get(name)
        spent = used.get(name)
        shown = ("", "") if spent is None else (energy(spent), percent(spent / cost.energy_pj))
        table.add_row(name, *shown, "" if area is None else f"{area:.3g}")
    return table


def _layers(layers: Sequence[Layer], cost: Cost) -> Table:
    from rich.markup import escape
    from rich.table import Table

    heads = ("layer", "MACs", "arrays", "copies", "conversions", "skipped", "inexact", "energy", "share", "from", "to", "engine")
    table = Table(*heads, title="Layers", title_justify="left")
    for layer in layers[:MOST_LAYERS]:
        product = bool(layer.macs)
        table.add_row(
            escape(layer.name),
            count(layer.macs) if product else "",
            str(layer.arrays) if layer.arrays else "",
            str(layer.copies) if layer.copies else "",
            count(layer.conversions) if product else "",
            percent(layer.skipped) if product else "",
            percent(layer.inexact) if product else "",
            energy(layer.total_pj),
            percent(layer.total_pj / cost.energy_pj) if cost.energy_pj else "",
            time(layer.start_ns) if layer.end_ns else "",
            time(layer.end_ns) if layer.end_ns else "",
            escape(", ".join(layer.engines)),
        )
    if len(layers) > MOST_LAYERS:
        table.add_row(f"… and {len(layers) - MOST_LAYERS} more (all of them in JSON)", *[""] * (len(heads) - 1))
    return table
