"""Which parts of a buffer hold values: disjoint boxes that were written, in order."""

from __future__ import annotations

from netwright.backends.cim.program.access import volume
from netwright.backends.cim.program.layout import Box


class Coverage:
    """Boxes written so far. Adding and asking are linear in their number."""

    __slots__ = ("_boxes",)

    def __init__(self) -> None:
        self._boxes: list[Box] = []

    def add(self, box: Box) -> Box | None:
        """Note a box; gives the box written before that it overlaps, where there is one."""
        for known in self._boxes:
            if common(known, box):
                return known
        self._boxes.append(box)
        return None

    def holds(self, box: Box) -> bool:
        """True where every element of the box was written: boxes are disjoint, so common volumes add up."""
        wanted = volume(box)
        for known in self._boxes:
            wanted -= common(known, box)
            if wanted <= 0:
                return True
        return wanted <= 0


def common(one: Box, other: Box) -> int:
    """Elements that two boxes share."""
    found = 1
    for (a, b), (c, d) in zip(one, other, strict=True):
        low, high = a if a > c else c, b if b < d else d
        if low >= high:
            return 0
        found *= high - low
    return found
