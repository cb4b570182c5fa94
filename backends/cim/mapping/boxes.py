"""Boxes: ranges of every axis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod

from netwright.backends.cim.program.layout import Box


def whole(shape: tuple[int, ...]) -> Box:
    """The box of everything."""
    return tuple((0, extent) for extent in shape)


def volume(box: Box) -> int:
    """Its elements."""
    return prod(stop - start for start, stop in box)


def hull(boxes: Iterable[Box]) -> Box:
    """The smallest box that holds all of some (at least one)."""
    return tuple((min(start for start, _ in axis), max(stop for _, stop in axis)) for axis in zip(*boxes, strict=True))


def meet(one: Box, other: Box) -> Box | None:
    """What two boxes share; None for nothing."""
    found = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(one, other, strict=True))
    return found if all(start < stop for start, stop in found) else None


def set_axis(box: Box, axis: int, span: tuple[int, int]) -> Box:
    """The box with another range of one axis."""
    return (*box[:axis], span, *box[axis + 1 :])


def spans(extent: int, step: int) -> Iterator[tuple[int, int]]:
    """Ranges of a size, one after the other; the last may be shorter."""
    return ((start, min(start + step, extent)) for start in range(0, extent, step))
