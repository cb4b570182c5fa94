"""The report as one HTML page: no scripts, no other files, everything escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from netwright.backends.cim.cost.account import Cost, layer_of
from netwright.backends.cim.program.model import ChipProgram
from netwright.backends.cim.report.chip_map import tile_map, traffic_map
from netwright.backends.cim.report.energy_bars import energy_bars
from netwright.backends.cim.report.gantt import LANE_NAMES, gantt
from netwright.backends.cim.report.host import HostPart
from netwright.backends.cim.report.layers import Layer
from netwright.backends.cim.report.quantities import energy, percent
from netwright.backends.cim.report.rows import Sheet, by_layer, components, on_host, remarks, resources, summary
from netwright.backends.cim.report.svg import ORANGE
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
            _table(summary(chip, timeline, cost)),
            f'<h2>Chip</h2><div class="maps">{_maps(chip, timeline, cost)}</div>',
            f"<h2>Timeline</h2>{_timeline(chip, timeline, layers)}",
            f"<h2>Energy</h2><figure>{energy_bars(layers, cost.components)}</figure>",
            f"<h2>Layers</h2>{_table(by_layer(layers, cost).without('share'))}",
            f"<h2>Components</h2>{_table(components(cost))}",
            f"<h2>Busiest</h2>{_table(resources(timeline).first(MOST_RESOURCES))}",
            _host(host),
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


def _notes(chip: ChipProgram, trace: Trace, host: Sequence[HostPart]) -> str:
    lines = "".join(f"<li>{escape(line)}</li>" for line in remarks(chip, trace, host))
    return f"<h2>Notes</h2><ul>{lines}</ul>" if lines else ""


def _host(host: Sequence[HostPart]) -> str:
    return f"<h2>On the host: work that is in none of the figures above</h2>{_table(on_host(host))}" if host else ""


def _table(sheet: Sheet) -> str:
    heads = f"<tr>{''.join(f'<th>{escape(name)}</th>' for name in sheet.heads)}</tr>" if sheet.heads else ""
    cells = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in sheet.rows)
    return f'<div class="scroll"><table>{heads}{cells}</table></div>'
