"""What a pass learnt about a trade-off, as data: the report draws it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of several series over one quantity.

    Attributes:
        title: what is shown.
        x: name of the horizontal quantity.
        y: name of the vertical one.
        series: points by name, in the order of x.
        chosen: the point that was taken, if any.
        log: whether the vertical axis is logarithmic.
    """

    title: str
    x: str
    y: str
    series: Mapping[str, Sequence[Point]]
    chosen: Point | None = None
    log: bool = False

    def to_dict(self) -> dict[str, object]:
        """The curve as JSON."""
        return {
            "title": self.title,
            "x": self.x,
            "y": self.y,
            "series": {name: [list(point) for point in points] for name, points in self.series.items()},
            "chosen": None if self.chosen is None else list(self.chosen),
            "log": self.log,
        }
