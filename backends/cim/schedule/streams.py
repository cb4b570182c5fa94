"""What rows an instruction makes, one after the other, and which rows of its sources each of them needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netwright.backends.cim.program.access import Touch, reads, writes
from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.model import ChipProgram, Instruction, Mvm, Reach, Send, Vector, Window, Write

WHOLE = -1
"""The axis of what is made, or needed, all at once."""


@dataclass(frozen=True, slots=True)
class Written:
    """A box of a buffer that an instruction fills row by row.

    Attributes:
        buffer: number.
        box: all of it.
        axis: along which; WHOLE for all at once.
    """

    buffer: int
    box: Box
    axis: int


@dataclass(frozen=True, slots=True)
class Needed:
    """What the rows of an instruction read of a buffer.

    Attributes:
        buffer: number.
        box: what all of them read together.
        axis: along which rows differ; WHOLE where each needs everything.
        low: first row that row r still needs, int64 [rows]: what lies before is free to go. Never falls.
        high: rows needed before row r may start, int64 [rows], counted in the whole tensor. Never falls.
    """

    buffer: int
    box: Box
    axis: int
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, slots=True)
class Stream:
    """An instruction as a sequence of rows.

    Attributes:
        rows: how many; 1 for all at once.
        needed: by source.
        written: by target.
    """

    rows: int
    needed: tuple[Needed, ...]
    written: tuple[Written, ...]


def stream_of(chip: ChipProgram, one: Instruction) -> Stream:
    """The rows of an instruction: along the stream axis of what it makes (of what it sends)."""
    if isinstance(one, Write):
        once = np.zeros(1, np.int64)
        return Stream(1, (Needed(one.source, one.box, WHOLE, once, once + 1),), ())
    made = writes(chip, one)
    lead = (one.source, one.box) if isinstance(one, Send) else made[0] if made else None
    if lead is None:
        return Stream(1, (), ())
    spans = {box[axis] if axis != WHOLE else (0, 1) for axis, box in ((_axis(chip, buffer), box) for buffer, box in made or (lead,))}
    axis = _axis(chip, lead[0]) if len(spans) == 1 else WHOLE
    span = lead[1][axis] if axis != WHOLE else (0, 1)
    needed = tuple(_needed(chip, one, place, touch, axis, span) for place, touch in enumerate(reads(chip, one)))
    written = tuple(Written(buffer, box, _axis(chip, buffer) if axis != WHOLE else WHOLE) for buffer, box in made)
    return Stream(max(span[1] - span[0], 1), needed, written)


def _axis(chip: ChipProgram, buffer: int) -> int:
    return chip.tensors[chip.buffers[buffer].tensor].stream


def _needed(chip: ChipProgram, one: Instruction, place: int, touch: Touch, axis: int, span: tuple[int, int]) -> Needed:
    buffer, box = touch
    rows = np.arange(span[0], max(span[1], span[0] + 1), dtype=np.int64)
    if isinstance(one, Mvm) and one.window is not None and axis == 1:
        return _through_window(one.window, chip.units[one.unit].rows, chip.tensors[chip.buffers[buffer].tensor].shape[3], buffer, box, rows)
    if axis != WHOLE and isinstance(one, Vector):
        reaches = chip.regions[one.region].reaches
        reach = reaches[place] if place < len(reaches) else Reach(0, 0, whole=True)
        if not reach.whole and _axis(chip, buffer) != WHOLE:
            return _within_reach(chip, reach, buffer, box, rows)
    elif axis != WHOLE and not (isinstance(one, Mvm) and one.window is not None):
        return Needed(buffer, box, axis, rows, rows + 1)
    return Needed(buffer, box, WHOLE, np.zeros_like(rows), np.ones_like(rows))


def _within_reach(chip: ChipProgram, reach: Reach, buffer: int, box: Box, rows: np.ndarray) -> Needed:
    """Rows up to a region's reach. How far back it looks is not told: in a ring, all but the rows that the next row brings."""
    held = chip.buffers[buffer]
    axis = _axis(chip, buffer)
    first, last = box[axis]
    high = np.clip(rows * reach.stride + reach.last + 1, first, last)
    low = np.maximum(high - max(held.ring - reach.stride, 1), 0) if held.ring else np.zeros_like(high)
    return Needed(buffer, box, axis, low, high)


def _through_window(window: Window, unit_rows: tuple[int, int], channels: int, buffer: int, box: Box, rows: np.ndarray) -> Needed:
    """Rows of a map that rows of sums need: those of the kernel's rows that the unit holds, within the map."""
    per_row = window.kernel[1] * channels
    top = unit_rows[0] // per_row * window.dilations[0] - window.pads[0]
    bottom = (unit_rows[1] - 1) // per_row * window.dilations[0] - window.pads[0]
    low = np.clip(rows * window.strides[0] + top, 0, window.size[0])
    high = np.clip(rows * window.strides[0] + bottom + 1, 0, window.size[0])
    return Needed(buffer, box, 1, np.minimum(low, high), high)
