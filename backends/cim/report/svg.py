"""Pieces of SVG: text is escaped here and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

Colour = tuple[int, int, int]

BLUE: tuple[Colour, Colour] = ((236, 242, 248), (16, 78, 139))
ORANGE: tuple[Colour, Colour] = ((252, 242, 232), (170, 62, 8))
FLOW: tuple[Colour, ...] = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (230, 190, 20))
CATEGORIES = ("#1763a6", "#c2571a", "#2f7d32", "#7b3f98", "#b0892b", "#3a8f93", "#a3375a", "#6b7785")
"""Told apart in print and by the colour-blind as far as eight colours can be; the last is for the rest."""


def blend(stops: Sequence[Colour], place: float) -> str:
    """The colour at a place from 0 to 1 along some."""
    place = min(max(place, 0.0), 1.0) * (len(stops) - 1)
    low = min(int(place), len(stops) - 2)
    share = place - low
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(stops[low], stops[low + 1], strict=True))


def rect(x: float, y: float, width: float, height: float, fill: str, tip: str = "", more: str = "") -> str:
    """A box that says something when pointed at."""
    inside = f"<title>{escape(tip)}</title>" if tip else ""
    return f'<rect x="{x:.2f}" y="{y:.2f}" width="{max(width, 0.4):.2f}" height="{height:.2f}" fill="{fill}"{more}>{inside}</rect>'


def text(x: float, y: float, words: str, *, anchor: str = "start", fill: str = "#222", size: int = 11) -> str:
    """Words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" font-size="{size}">{escape(words)}</text>'


def drawing(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    """A whole picture; `label` tells it to those who do not see it."""
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(label)}" {size}>{"".join(parts)}</svg>'


def shorten(words: str, most: int) -> str:
    """Words cut in the middle: names of layers differ at both ends."""
    if len(words) <= most:
        return words
    head = (most - 1) // 2
    return f"{words[:head]}…{words[len(words) - (most - 1 - head) :]}"
