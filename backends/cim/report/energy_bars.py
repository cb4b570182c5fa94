"""Energy by layer and component, as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netwright.backends.cim.report.layers import Layer
from netwright.backends.cim.report.quantities import energy, percent
from netwright.backends.cim.report.svg import CATEGORIES, drawing, rect, shorten, text

REST = "other"
_LEFT, _WIDTH, _ROW, _LEGEND = 250, 1040, 18, 150


def energy_bars(layers: Sequence[Layer], components: Mapping[str, float]) -> str:
    """A bar for the whole and one for each layer with energy, of the seven largest components and the rest.

    Args:
        layers: in order.
        components: energy in pJ by component, the largest first.
    """
    colours = _colours(components)
    spent = [layer for layer in layers if layer.total_pj > 0]
    total = sum(components.values())
    parts: list[str] = []
    for number, (name, colour) in enumerate(colours.items()):
        x, y = _LEFT + number % 5 * _LEGEND, 4 + number // 5 * 16
        parts += [rect(x, y, 10, 10, colour), text(x + 14, y + 9, name)]
    y = 44.0
    parts += _bar("whole", components, y, total, total, colours)
    longest = max((layer.total_pj for layer in spent), default=0.0)
    for number, layer in enumerate(spent):
        parts += _bar(layer.name, layer.energy_pj, y + 8 + (number + 1) * _ROW, longest, total, colours)
    return drawing(_WIDTH + 150, y + 30 + len(spent) * _ROW, "Energy by layer and component", parts)


def folded(parts: Mapping[str, float], shown: Mapping[str, str]) -> dict[str, float]:
    """Energy by shown component; what is not shown is the rest."""
    found = dict.fromkeys(shown, 0.0)
    for name, amount in parts.items():
        found[name if name in shown else REST] += amount
    return found


def _colours(components: Mapping[str, float]) -> dict[str, str]:
    names = list(components)
    if len(names) <= len(CATEGORIES):
        return dict(zip(names, CATEGORIES, strict=False))
    return {**dict(zip(names[: len(CATEGORIES) - 1], CATEGORIES, strict=False)), REST: CATEGORIES[-1]}


def _bar(name: str, parts: Mapping[str, float], y: float, full: float, total: float, colours: Mapping[str, str]) -> list[str]:
    drawn = [text(_LEFT - 8, y + 11, shorten(name, 38), anchor="end")]
    x, own = float(_LEFT), sum(parts.values())
    scale = (_WIDTH - _LEFT) / full if full else 0.0
    for part, amount in folded(parts, colours).items():
        if amount > 0:
            drawn.append(rect(x, y, amount * scale, _ROW - 5, colours[part], f"{name}: {part} {energy(amount)}, {percent(amount / own)}"))
            x += amount * scale
    drawn.append(text(x + 6, y + 11, f"{energy(own)} ({percent(own / total) if total else '0 %'})", fill="#555"))
    return drawn
