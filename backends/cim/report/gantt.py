"""The timeline: every tile's arrays, vector unit, network and way to outer memory, in time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netwright.backends.cim.program.model import HOST
from netwright.backends.cim.report.layers import Layer
from netwright.backends.cim.report.quantities import time
from netwright.backends.cim.report.svg import FLOW, blend, drawing, rect, text
from netwright.backends.cim.schedule.model import Span, Timeline

LANES = {
    "mvm": 0,
    "reload": 0,
    "write": 0,
    "vector": 1,
    "accumulate": 1,
    "requantize": 1,
    "send": 2,
    "receive": 2,
    "load": 3,
    "store": 3,
}
"""Which of a tile's four lanes a kind of instruction is drawn in; what is not here (`sync`) takes no time of its own."""

LANE_NAMES = ("arrays", "vector unit", "network", "outer memory")
MOST_BARS = 400
"""Beyond so many, the bars of one layer in one lane (its copies, say) are drawn as one."""

_LEFT, _WIDTH, _LANE, _THINNEST, _GAP, _TOP = 64, 1040, 6.0, 1.6, 5, 24


@dataclass(frozen=True, slots=True)
class Bar:
    """What is drawn: a span, or several of a layer in one lane.

    Attributes:
        tile: whose.
        lane: which.
        name: of the layer.
        kind: of instruction, or several.
        start_ns: first.
        end_ns: last.
        busy_ns: at work.
        spans: how many.
    """

    tile: int
    lane: int
    name: str
    kind: str
    start_ns: float
    end_ns: float
    busy_ns: float
    spans: int = 1


def bars_of(timeline: Timeline, names: dict[tuple[int, int], str]) -> list[Bar]:
    """What to draw of a timeline; `names`: layers by tile and index."""
    spans = [span for span in timeline.spans if span.kind in LANES and span.tile != HOST]
    bars = [_bar(span, names[span.tile, span.index]) for span in spans]
    if len(bars) <= MOST_BARS:
        return bars
    merged: dict[tuple[int, int, str], Bar] = {}
    for bar in bars:
        key = bar.tile, bar.lane, bar.name
        known = merged.get(key)
        merged[key] = bar if known is None else _together(known, bar)
    return list(merged.values())


def gantt(timeline: Timeline, layers: Sequence[Layer], names: dict[tuple[int, int], str]) -> str:
    """The timeline as a picture; bars are coloured by their layer's place in the model, and paler the more they wait."""
    place = {layer.name: number / max(len(layers) - 1, 1) for number, layer in enumerate(layers)}
    scale = (_WIDTH - _LEFT) / timeline.latency_ns if timeline.latency_ns else 0.0
    lanes: dict[tuple[int, int], list[Bar]] = {}
    for bar in bars_of(timeline, names):
        lanes.setdefault((bar.tile, bar.lane), []).append(bar)
    parts: list[str] = []
    y = float(_TOP)
    for tile in sorted({tile for tile, _ in lanes}):
        top = y
        drawn: list[str] = []
        for lane in range(len(LANE_NAMES)):
            bars = sorted(lanes.get((tile, lane), ()), key=lambda bar: bar.start_ns)
            rows, count = stacked(bars)
            height = max(_LANE / count, _THINNEST)
            drawn += [_draw(bar, y + row * height, height, scale, place) for bar, row in zip(bars, rows, strict=True)]
            y += max(_LANE, count * height)
        parts += [rect(_LEFT, top, _WIDTH - _LEFT, y - top, "#f6f7f9"), *drawn]
        parts.append(text(_LEFT - 6, (top + y) / 2 + 4, f"tile {tile}", anchor="end"))
        y += _GAP
    return drawing(_WIDTH + 8, y, "When each tile's units and ports work", [*parts, *_marks(timeline.latency_ns, scale, y)])


def stacked(bars: Sequence[Bar]) -> tuple[list[int], int]:
    """A row for each bar, so that those that overlap lie below each other, and how many rows; `bars` by start. O(bars · rows)."""
    ends: list[float] = []
    rows: list[int] = []
    for bar in bars:
        row = next((row for row, end in enumerate(ends) if end <= bar.start_ns), len(ends))
        if row == len(ends):
            ends.append(0.0)
        ends[row] = bar.end_ns
        rows.append(row)
    return rows, max(len(ends), 1)


def _draw(bar: Bar, y: float, height: float, scale: float, place: Mapping[str, float]) -> str:
    length = bar.end_ns - bar.start_ns
    share = min(bar.busy_ns / length, 1.0) if length > 0 else 1.0
    several = f", {bar.spans} instructions" if bar.spans > 1 else ""
    when = f"{time(bar.start_ns)} … {time(bar.end_ns)}, at work {time(bar.busy_ns)}"
    tip = f"{bar.name}: {bar.kind} ({LANE_NAMES[bar.lane]}) {when}{several}"
    look = f' fill-opacity="{0.3 + 0.7 * share:.2f}"'
    x, thick = _LEFT + bar.start_ns * scale, height - min(0.5, height / 4)
    return rect(x, y, length * scale, thick, blend(FLOW, place.get(bar.name, 0.0)), tip, look)


def _bar(span: Span, name: str) -> Bar:
    return Bar(span.tile, LANES[span.kind], name, span.kind, span.start_ns, span.end_ns, span.busy_ns)


def _together(one: Bar, other: Bar) -> Bar:
    kind = one.kind if other.kind in one.kind.split(", ") else f"{one.kind}, {other.kind}"
    start, end = min(one.start_ns, other.start_ns), max(one.end_ns, other.end_ns)
    return Bar(one.tile, one.lane, one.name, kind, start, end, one.busy_ns + other.busy_ns, one.spans + other.spans)


def _marks(latency: float, scale: float, height: float) -> list[str]:
    """Lines at round times."""
    if latency <= 0:
        return []
    unit = 10.0 ** math.floor(math.log10(latency / 8))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= latency / 8)
    parts: list[str] = []
    for number in range(int(latency / step) + 1):
        x = _LEFT + number * step * scale
        parts.append(f'<line x1="{x:.1f}" y1="{_TOP - 4}" x2="{x:.1f}" y2="{height:.0f}" stroke="#000" stroke-opacity="0.09"/>')
        parts.append(text(x, _TOP - 8, time(number * step) if number else "0", anchor="middle", size=10))
    return parts
