"""The report as rich tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from netwright.backends.cim.cost.account import Cost
from netwright.backends.cim.program.model import ChipProgram
from netwright.backends.cim.report.host import HostPart
from netwright.backends.cim.report.layers import Layer
from netwright.backends.cim.report.rows import Sheet, by_layer, components, on_host, remarks, summary
from netwright.backends.cim.schedule.model import Timeline
from netwright.backends.cim.simulator.activity import Trace

if TYPE_CHECKING:
    from rich.table import Table

MOST_LAYERS = 60
"""Rows of the table by layer; JSON has all."""


def tables(
    chip: ChipProgram, trace: Trace, timeline: Timeline, cost: Cost, layers: Sequence[Layer], host: Sequence[HostPart]
) -> Iterator[Table | str]:
    """Summary, components, layers, what the host does, and what a user must know."""
    from rich.markup import escape

    yield _table(f"{chip.name} on {chip.arch.name}", summary(chip, timeline, cost))
    yield _table("Components", components(cost))
    yield _layers(layers, cost)
    if host:
        yield _table("On the host: work that is in none of the figures above", on_host(host))
    for line in remarks(chip, trace, host):
        yield escape(line)


def _layers(layers: Sequence[Layer], cost: Cost) -> Table:
    sheet = by_layer(layers, cost).without("tiles")
    table = _table("Layers", sheet.first(MOST_LAYERS))
    if len(layers) > MOST_LAYERS:
        table.add_row(f"… and {len(layers) - MOST_LAYERS} more (all of them in JSON)", *[""] * (len(sheet.heads) - 1))
    return table


def _table(title: str, sheet: Sheet) -> Table:
    from rich.markup import escape
    from rich.table import Table

    heads = sheet.heads or ("",) * len(sheet.rows[0])
    table = Table(*heads, title=escape(title), title_justify="left", show_header=bool(sheet.heads))
    for row in sheet.rows:
        table.add_row(*map(escape, row))
    return table
