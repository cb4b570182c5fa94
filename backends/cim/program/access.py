"""What an instruction reads and writes: boxes of buffers."""

from __future__ import annotations

from math import prod
from typing import TypeAlias

from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.model import (
    Accumulate,
    ChipProgram,
    Instruction,
    Load,
    Mvm,
    Receive,
    Requantize,
    Send,
    Store,
    Unit,
    Vector,
    Window,
    Write,
)

Touch: TypeAlias = tuple[int, Box]
"""A buffer's number, and a box in its tensor's axes."""


def reads(chip: ChipProgram, one: Instruction) -> tuple[Touch, ...]:
    """Boxes that must hold values before the instruction."""
    if isinstance(one, Load | Store | Send | Requantize | Write):
        return ((one.source, one.box),)
    if isinstance(one, Accumulate):
        return tuple((source, one.box) for source in one.sources)
    if isinstance(one, Mvm):
        return ((one.source, product_box(chip, one)),)
    if isinstance(one, Vector):
        shape = shape_of(chip, one.targets[0])
        return tuple((source, cut_alike(shape, one.box, shape_of(chip, source))) for source in one.sources)
    return ()


def writes(chip: ChipProgram, one: Instruction) -> tuple[Touch, ...]:
    """Boxes that hold values after the instruction."""
    if isinstance(one, Vector):
        shape = shape_of(chip, one.targets[0])
        return tuple((target, cut_alike(shape, one.box, shape_of(chip, target))) for target in one.targets)
    if isinstance(one, Load | Store | Mvm | Accumulate | Requantize | Receive):
        return ((one.target, one.box),)
    return ()


def shape_of(chip: ChipProgram, buffer: int) -> tuple[int, ...]:
    """Shape of a buffer's tensor."""
    return chip.tensors[chip.buffers[buffer].tensor].shape


def whole(shape: tuple[int, ...]) -> Box:
    """The box of everything."""
    return tuple((0, extent) for extent in shape)


def extents(box: Box) -> tuple[int, ...]:
    """Its sizes."""
    return tuple(stop - start for start, stop in box)


def volume(box: Box) -> int:
    """Its elements."""
    return prod(stop - start for start, stop in box)


def contains(outer: Box, inner: Box) -> bool:
    """True where the inner box lies within the outer."""
    return len(outer) == len(inner) and all(a <= c and d <= b for (a, b), (c, d) in zip(outer, inner, strict=True))


def cut_alike(shape: tuple[int, ...], box: Box, other: tuple[int, ...]) -> Box:
    """The part of another tensor that belongs to a box of one: axes are aligned at the end; what is not cut, or of size 1, whole."""
    found: list[tuple[int, int]] = []
    for axis, extent in enumerate(other):
        own = axis + len(shape) - len(other)
        cut = own >= 0 and box[own] != (0, shape[own]) and extent == shape[own]
        found.append(box[own] if cut else (0, extent))
    return tuple(found)


def product_box(chip: ChipProgram, one: Mvm) -> Box:
    """The part of its source that a product reads."""
    unit = chip.units[one.unit]
    if one.window is None:
        return (*one.box[:-1], unit.rows)
    return window_box(one.window, unit, shape_of(chip, one.source)[3], one.box)


def window_box(window: Window, unit: Unit, channels: int, box: Box) -> Box:
    """The part of a map [1, H, W, C] that a unit's rows need for a box [1, OH, OW, J] of sums; what lies outside the map is cut off."""
    first, last = unit.rows[0], unit.rows[1] - 1
    width = window.kernel[1]
    kernel_rows = (first // (width * channels), last // (width * channels))
    one_row = kernel_rows[0] == kernel_rows[1]
    kernel_columns = (first // channels % width, last // channels % width) if one_row else (0, width - 1)
    one_place = one_row and kernel_columns[0] == kernel_columns[1]
    channel_range = (first % channels, last % channels + 1) if one_place else (0, channels)
    down = _span(box[1], kernel_rows, window.strides[0], window.dilations[0], window.pads[0], window.size[0])
    right = _span(box[2], kernel_columns, window.strides[1], window.dilations[1], window.pads[1], window.size[1])
    return ((0, 1), down, right, channel_range)


def _span(results: tuple[int, int], kernel: tuple[int, int], stride: int, dilation: int, pad: int, size: int) -> tuple[int, int]:
    start = results[0] * stride - pad + kernel[0] * dilation
    stop = (results[1] - 1) * stride - pad + kernel[1] * dilation + 1
    start, stop = min(max(start, 0), size), min(max(stop, 0), size)
    return (start, max(start, stop))
