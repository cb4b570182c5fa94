"""Statistics in a line for each activation, for people and for JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from netwright.passes.quantize.calibration.tensors import TensorStatistics

_CORE = 1e-4


@dataclass(frozen=True, slots=True)
class Summary:
    """One activation.

    Attributes:
        name: of the activation.
        elements: how many were seen.
        low, high: the least and the largest.
        zeros: share of the elements that were exactly 0.
        used: share of the range, 0 included, that all but one in ten thousand elements need.
        obstacle: why it has no grid, if it has none.
    """

    name: str
    elements: int
    low: float
    high: float
    zeros: float
    used: float
    obstacle: str | None

    @classmethod
    def of(cls, name: str, seen: TensorStatistics, obstacle: str | None) -> Summary:
        """Sum up."""
        span = max(seen.high, 0.0) - min(seen.low, 0.0)
        histogram = seen.histogram
        core = max(min(seen.high, histogram.quantile(1 - _CORE / 2)), 0.0) - min(max(seen.low, histogram.quantile(_CORE / 2)), 0.0)
        used = core / span if span else 1.0
        return cls(name, seen.count, seen.low, seen.high, histogram.zeros / max(1, histogram.total), used, obstacle)

    def to_dict(self) -> dict[str, str | int | float | None]:
        """The JSON object with these attributes."""
        return asdict(self)
