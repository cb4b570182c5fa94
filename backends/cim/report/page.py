"""The report as one HTML page: no scripts, no other files, everything escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from netwright.backends.cim.cost.account import Cost, layer_of
from netwright.backends.cim.program.model import ChipProgram
from netwright.backends.cim.report.chip_map import tile_map, traffic_map
from netwright.backends.cim.report.energy_bars import energy_bars
from netwright.backends.cim.report.gantt import LANE_NAMES, gantt
from netwright.backends.cim.report.layers import HostPart, Layer
from netwright.backends.cim.report.quantities import count, energy, percent, time
from netwright.backends.cim.report.svg import ORANGE
from netwright.backends.cim.report.tables import summary
from netwright.backends.cim.schedule.model import Timeline
from netwright.backends.cim.simulator.activity import Trace

MOST_RESOURCES = 20
_STYLE = (
    "body{font:14px/1.45 system-ui,sans-serif;color:#222;margin:24px auto;max-width:1240px;padding:0 16px}"
    "svg{font-family:system-ui,sans-serif;max-width:100%;height:auto}h1{font-size:22px}h2{font-size:17px;margin-top:32px}"
    "figure{margin:0}figcaption{color:#555;margin:4px 0 8px}.maps{display:flex;flex-wrap:wrap;gap:28px}"
    "table{border-collapse:collapse;margin:8px 0}td,th{padding:2px 10px;text-align:right;border-bottom:1px solid #e6e9ed}"
    "th{color:#555;font-weight:600}td:first-child,th:first-child{text-align:left}.scroll{overflow-x:auto}"
)


def page(chip: ChipProgram, trace: Trace, timeline: Timeline, cost: Cost, layers: Sequence[Layer], host: Sequence[HostPart]) -> str:
    """The whole page."""
    title = escape(f"{chip.name} on {chip.arch.name}")
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    body = "".join(
        (
            f"<h1>{title}</h1>",
            _table((), summary(chip, timeline, cost)),
            f'<h2>Chip</h2><div class="maps">{_maps(chip, timeline, cost)}</div>',
            f"<h2>Timeline</h2>{_timeline(chip, timeline, layers)}",
            f"<h2>Energy</h2><figure>{energy_bars(layers, cost.components)}</figure>",
            f"<h2>Layers</h2>{_layers(layers)}",
            f"<h2>Components</h2>{_components(cost)}",
            f"<h2>Busiest</h2>{_resources(timeline)}",
            _notes(chip, trace, host),
        )
    )
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title><style>{_STYLE}</style>'
    )
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _maps(chip: ChipProgram, timeline: Timeline, cost: Cost) -> str:
    mesh, use = chip.arch.network, cost.use
    spent = {tile: sum(parts.values()) for tile, parts in cost.tiles.items()}
    figures = (
        ("Arrays that hold weights", tile_map(mesh, use.tile_arrays, 1.0, percent, "Arrays that hold weights, by tile")),
        ("Time that these arrays compute", tile_map(mesh, use.tile_busy, 1.0, percent, "Time that arrays compute, by tile")),
        ("Energy of a sample", tile_map(mesh, spent, max(spent.values(), default=0.0), energy, "Energy of a sample, by tile", ORANGE)),
        ("Bytes over links", traffic_map(mesh, timeline.link_bytes, "Bytes over links")),
    )
    return "".join(f"<figure><figcaption>{caption}</figcaption>{picture}</figure>" for caption, picture in figures)


def _timeline(chip: ChipProgram, timeline: Timeline, layers: Sequence[Layer]) -> str:
    names = {(tile, index): layer_of(chip, one) for tile, part in chip.tiles.items() for index, one in enumerate(part)}
    lanes = ", ".join(LANE_NAMES)
    caption = f"Each tile from above: {lanes}. Colours follow the layers from first to last; pale bars wait most of their time."
    return f'<figure><figcaption>{caption}</figcaption><div class="scroll">{gantt(timeline, layers, names)}</div></figure>'


def _layers(layers: Sequence[Layer]) -> str:
    heads = ("layer", "MACs", "arrays", "copies", "conversions", "skipped", "inexact", "energy", "from", "to", "tiles", "engine")
    rows = [
        (
            layer.name,
            count(layer.macs) if layer.macs else "",
            str(layer.arrays or ""),
            str(layer.copies or ""),
            count(layer.conversions) if layer.macs else "",
            percent(layer.skipped) if layer.macs else "",
            percent(layer.inexact) if layer.macs else "",
            energy(layer.total_pj),
            time(layer.start_ns) if layer.end_ns else "",
            time(layer.end_ns) if layer.end_ns else "",
            ", ".join(map(str, layer.tiles)),
            ", ".join(layer.engines),
        )
        for layer in layers
    ]
    return _table(heads, rows)


def _components(cost: Cost) -> str:
    used, whole = cost.components, cost.energy_pj
    rows = [
        (
            name,
            energy(used[name]) if name in used else "",
            percent(used[name] / whole) if name in used else "",
            f"{cost.area_mm2[name]:.3g}" if name in cost.area_mm2 else "",
        )
        for name in dict.fromkeys([*used, *cost.area_mm2])
    ]
    return _table(("component", "energy", "share", "area mm²"), rows)


def _resources(timeline: Timeline) -> str:
    rows = [
        (one.name, time(one.busy_ns), percent(one.busy_ns / timeline.interval_ns) if timeline.interval_ns else "")
        for one in timeline.resources[:MOST_RESOURCES]
    ]
    return _table(("resource", "at work", "of the interval"), rows)


def _notes(chip: ChipProgram, trace: Trace, host: Sequence[HostPart]) -> str:
    lines = [*(f"On the host: {part.name}: {part.why}" for part in host), *chip.notes, *trace.fell_back]
    return f"<h2>Notes</h2><ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = f"<tr>{''.join(f'<th>{escape(name)}</th>' for name in heads)}</tr>" if heads else ""
    cells = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table>{top}{cells}</table></div>'
