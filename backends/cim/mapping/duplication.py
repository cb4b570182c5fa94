"""How many copies of each layer's weights: as many as make the slowest layer fastest, with the arrays that there are.

With T the time that every layer may take for a sample, layer l needs dup_l = ⌈work_l / T⌉ copies; the smallest T whose copies fit is
found by bisection, and is the best there is for the slowest layer (the time of each falls as its copies grow).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush


@dataclass(frozen=True, slots=True)
class Layer:
    """What one matrix is for the arrays.

    Attributes:
        arrays: of one copy.
        row_ns: time of one step along the axis that copies share out, all its vectors, for one copy.
        extent: steps along that axis: the most copies that can be.
    """

    arrays: int
    row_ns: float
    extent: int

    def copies(self, time_ns: float) -> int:
        """Copies with which a sample takes at most so long, or as many as can be."""
        steps = max(1, int(time_ns / self.row_ns + 1e-9)) if self.row_ns > 0 else self.extent
        return -(-self.extent // min(steps, self.extent))

    def time_ns(self, copies: int) -> float:
        """Time of a sample with some copies."""
        return -(-self.extent // copies) * self.row_ns


def copies_of(layers: Sequence[Layer], arrays: int, *, floor_ns: float = 0.0) -> list[int]:
    """The copies of each layer.

    Args:
        layers: all that share the arrays.
        arrays: how many there are.
        floor_ns: a time below which other things are slower anyway.

    Returns:
        1 for each where even that does not fit.
    """
    times = sorted({layer.time_ns(copies) for layer in layers for copies in range(1, layer.extent + 1)})
    times = [time for time in times if time >= floor_ns] or times[-1:]
    low, high = 0, len(times) - 1
    while low < high:
        middle = (low + high) // 2
        if sum(layer.arrays * layer.copies(times[middle]) for layer in layers) <= arrays:
            high = middle
        else:
            low = middle + 1
    found = [layer.copies(times[high]) for layer in layers] if times else []
    left = arrays - sum(layer.arrays * copies for layer, copies in zip(layers, found, strict=True))
    return _filled(layers, found, left) if left >= 0 else [1] * len(layers)


def _filled(layers: Sequence[Layer], copies: list[int], left: int) -> list[int]:
    """What arrays are left go where a further copy saves most time for its arrays: layers that wait for all of another add up."""
    found = list(copies)
    heap = [entry for place, layer in enumerate(layers) for entry in _more(layer, place, found[place])]
    heapify(heap)
    while heap:
        _, place, more = heappop(heap)
        layer = layers[place]
        cost = layer.arrays * (more - found[place])
        if cost <= left:
            left -= cost
            found[place] = more
            for entry in _more(layer, place, more):
                heappush(heap, entry)
    return found


def _more(layer: Layer, place: int, copies: int) -> list[tuple[float, int, int]]:
    """The next number of copies that is any faster: time saved for an array (negative), place, copies."""
    steps = -(-layer.extent // copies)
    if steps <= 1:
        return []
    more = -(-layer.extent // (steps - 1))
    return [(-layer.row_ns * (steps - -(-layer.extent // more)) / (layer.arrays * (more - copies)), place, more)]
