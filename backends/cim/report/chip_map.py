"""The chip as a map of its tiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from netwright.backends.cim.arch.model import Network
from netwright.backends.cim.report.quantities import quantity
from netwright.backends.cim.report.svg import BLUE, ORANGE, Colour, blend, drawing, rect, text

_WIDTH = 420
_SMALLEST = 16.0
_TEXT_FROM = 40.0
_DARK = 0.55


def tile_map(
    mesh: Network, values: Mapping[int, float], full: float, show: Callable[[float], str], label: str, colours: tuple[Colour, Colour] = BLUE
) -> str:
    """Tiles coloured by a value.

    Args:
        mesh: of tiles.
        values: by tile; those left out have nothing.
        full: the value of the deepest colour.
        show: a value in words.
        label: what is shown.
        colours: of nothing and of `full`.
    """
    side = _side(mesh)
    parts: list[str] = []
    for tile in range(mesh.tiles):
        value = values.get(tile)
        x, y = tile % mesh.columns * side, tile // mesh.columns * side
        share = (value or 0.0) / full if full > 0 else 0.0
        fill = blend(colours, share) if value is not None else "#fafafa"
        tip = f"tile {tile}: {show(value) if value is not None else 'unused'}"
        parts.append(rect(x + 1, y + 1, side - 2, side - 2, fill, tip, ' stroke="#ccd2d8"'))
        if side >= _TEXT_FROM:
            ink = "#fff" if share > _DARK else "#222"
            parts.append(text(x + side / 2, y + side / 2 - 3, str(tile), anchor="middle", fill=ink, size=10))
            parts.append(text(x + side / 2, y + side / 2 + 10, show(value) if value is not None else "", anchor="middle", fill=ink, size=9))
    return drawing(side * mesh.columns, side * mesh.rows, label, parts)


def traffic_map(mesh: Network, links: Mapping[tuple[int, int], int], label: str) -> str:
    """Links coloured by the bytes that go over them, each direction on its own side."""
    side = _side(mesh)
    most = max(links.values(), default=0)
    parts: list[str] = []
    for tile in range(mesh.tiles):
        x, y = tile % mesh.columns * side, tile // mesh.columns * side
        parts.append(rect(x + side * 0.28, y + side * 0.28, side * 0.44, side * 0.44, "#eef1f4", f"tile {tile}", ' stroke="#ccd2d8"'))
    for (start, end), amount in links.items():
        (x1, y1), (x2, y2) = _middle(mesh, side, start), _middle(mesh, side, end)
        along_x, along_y = (x2 - x1) / side, (y2 - y1) / side
        off_x, off_y = -along_y * side * 0.09, along_x * side * 0.09
        tip = f"link {start} → {end}: {quantity(amount, 'B')}"
        shape = (
            f'x1="{x1 + along_x * side * 0.24 + off_x:.1f}" y1="{y1 + along_y * side * 0.24 + off_y:.1f}" '
            f'x2="{x2 - along_x * side * 0.24 + off_x:.1f}" y2="{y2 - along_y * side * 0.24 + off_y:.1f}"'
        )
        share = amount / most if most else 0.0
        parts.append(f'<line {shape} stroke="{blend(ORANGE, 0.15 + 0.85 * share)}" stroke-width="{1.5 + side * 0.07 * share:.1f}">')
        parts.append(f"<title>{tip}</title></line>")
    return drawing(side * mesh.columns, side * mesh.rows, label, parts)


def _side(mesh: Network) -> float:
    return max(_SMALLEST, min(64.0, _WIDTH / mesh.columns))


def _middle(mesh: Network, side: float, tile: int) -> tuple[float, float]:
    return (tile % mesh.columns + 0.5) * side, (tile // mesh.columns + 0.5) * side
