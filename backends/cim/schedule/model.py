"""A schedule's result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

ResourceKind: TypeAlias = Literal["arrays", "vector", "read", "write", "inject", "eject", "link", "dram"]


@dataclass(frozen=True, slots=True)
class Span:
    """One instruction in time, for one sample.

    Attributes:
        tile: whose.
        index: in the tile's list.
        layer: for reports.
        kind: the instruction's class name, in small letters.
        start_ns: of its first row.
        end_ns: of its last row.
        busy_ns: time that its resource was at work; the rest it waited between rows.
    """

    tile: int
    index: int
    layer: str
    kind: str
    start_ns: float
    end_ns: float
    busy_ns: float


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that does one thing at a time.

    Attributes:
        kind: a unit's arrays, a tile's vector unit, the ports of its memory and of its router, a link, the port of the outer memory.
        tile: whose; a link's is where it begins.
        name: in words.
        busy_ns: time that it was at work, for one sample.
    """

    kind: ResourceKind
    tile: int
    name: str
    busy_ns: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """When everything happens.

    Attributes:
        latency_ns: of one sample, from the first load to the last store.
        interval_ns: from one sample to the next when many follow each other as closely as resources, memory and arrays let them.
        busiest: the resource with most work, in words.
        spans: all instructions, by start.
        link_bytes: bytes over each directed link (from tile, to tile), one sample.
        waited_ns: time that rows waited for links and ports that others used, summed.
        resources: everything that was at work, the busiest first.
        rows: row events of one sample.
        samples: how many were run, one behind the other, to find the interval.
        steady: whether samples ended at a steady distance then; else the interval is the mean of distances that still varied.
    """

    latency_ns: float
    interval_ns: float
    busiest: str
    spans: tuple[Span, ...]
    link_bytes: dict[tuple[int, int], int]
    waited_ns: float = 0.0
    resources: tuple[Resource, ...] = ()
    rows: int = 0
    samples: int = 1
    steady: bool = True

    @property
    def bound_ns(self) -> float:
        """The busiest resource's time for one sample: samples never follow each other faster than that."""
        return self.resources[0].busy_ns if self.resources else 0.0
