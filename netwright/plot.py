"""Curves as SVG, for reports that are looked at in a browser."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netwright.passes.curves import Curve, Point

_WIDTH, _HEIGHT = 560, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 16, 34, 64
_COLOURS = ("#1763a6", "#c2571a", "#2f7d32", "#7b3f98")
_TICKS = 6


def svg(curve: Curve) -> str:
    """The curve as an `<svg>` element; empty where it has no point that can be drawn."""
    series = {name: [point for point in points if _drawable(point, curve.log)] for name, points in curve.series.items()}
    chosen = [curve.chosen] if curve.chosen is not None and _drawable(curve.chosen, curve.log) else []
    every = [point for points in series.values() for point in points] + chosen
    if not every:
        return ""
    across = _scale([x for x, _ in every], _LEFT, _WIDTH - _RIGHT, log=False)
    down = _scale([y for _, y in every], _HEIGHT - _BOTTOM, _TOP, log=curve.log)
    parts = [*_frame(curve, [x for x, _ in every], [y for _, y in every], across, down)]
    for number, (name, points) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in points)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{path}"/>')
        parts.extend(f'<circle cx="{across(x):.1f}" cy="{down(y):.1f}" r="2.6" fill="{colour}"/>' for x, y in points)
        left = _LEFT + 200 * number
        parts.append(f'<rect x="{left}" y="{_HEIGHT - 18}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{left + 15}" y="{_HEIGHT - 9}">{escape(name)}</text>')
    for x, y in chosen:
        shown = f"chosen: {x:.4g}, {y:.3g}"
        parts.append(f'<circle cx="{across(x):.1f}" cy="{down(y):.1f}" r="6" fill="none" stroke="#000"><title>{shown}</title></circle>')
    size = f'width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size} font-family="sans-serif" font-size="11">{"".join(parts)}</svg>'


def _drawable(point: Point, log: bool) -> bool:
    return all(math.isfinite(one) for one in point) and (point[1] > 0 or not log)


def _scale(values: Sequence[float], start: float, stop: float, *, log: bool) -> Callable[[float], float]:
    change: Callable[[float], float] = math.log10 if log else lambda value: value
    low, high = change(min(values)), change(max(values))
    width = (high - low) or 1.0
    return lambda value: start + (stop - start) * (change(value) - low) / width


def _frame(
    curve: Curve, xs: Sequence[float], ys: Sequence[float], across: Callable[[float], float], down: Callable[[float], float]
) -> list[str]:
    """Title, axes and their marks."""
    base = _HEIGHT - _BOTTOM
    parts = [f'<text x="{_LEFT}" y="18" font-size="13">{escape(curve.title)}</text>']
    for value in _marks(min(xs), max(xs), log=False):
        x = across(value)
        parts.append(f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{base}" stroke="#e3e3e3"/>')
        parts.append(f'<text x="{x:.1f}" y="{base + 14}" text-anchor="middle">{value:g}</text>')
    for value in _marks(min(ys), max(ys), log=curve.log):
        y = down(value)
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="#e3e3e3"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    parts.append(f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2:.0f}" y="{base + 30}" text-anchor="middle">{escape(curve.x)}</text>')
    middle = (_TOP + base) / 2
    parts.append(f'<text x="14" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 14 {middle:.0f})">{escape(curve.y)}</text>')
    return parts


def _marks(low: float, high: float, *, log: bool) -> list[float]:
    """Round numbers between two; of a logarithmic axis, powers of ten, or the ends where there are none."""
    if log:
        powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
        return [10.0**power for power in powers] or [low, high]
    if high <= low:
        return [low]
    rough = (high - low) / _TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(step * number, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]
