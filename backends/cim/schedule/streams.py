"""What rows an instruction makes, one after the other, and which rows of its sources each of them needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netwright.backends.cim.mapping.layout import Box
from netwright.backends.cim.program.access import reads, writes
from netwright.backends.cim.program.model import ChipProgram, Instruction, Mvm, Send, Vector, Window

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
    made = writes(chip, one)
    lead = (one.source, one.box) if isinstance(one, Send) else made[0] if made else None
    if lead is None:
        return Stream(1, (), ())
    axis = _axis(chip, lead[0])
    if isinstance(one, Vector) and any(_axis(chip, buffer) != axis or box[axis] != lead[1][axis] for buffer, box in made if axis != WHOLE):
        axis = WHOLE
    first, last = lead[1][axis] if axis != WHOLE else (0, 1)
    needed = tuple(_needed(chip, one, buffer, box, axis, first, last) for buffer, box in reads(chip, one))
    return Stream(max(last - first, 1), needed, tuple(Written(buffer, box, axis) for buffer, box in made))


def _axis(chip: ChipProgram, buffer: int) -> int:
    return chip.tensors[chip.buffers[buffer].tensor].stream


def _needed(chip: ChipProgram, one: Instruction, buffer: int, box: Box, axis: int, first: int, last: int) -> Needed:
    rows = np.arange(first, max(last, first + 1), dtype=np.int64)
    if isinstance(one, Mvm) and one.window is not None and axis == 1:
        return _through_window(one.window, chip.units[one.unit].rows, chip.tensors[chip.buffers[buffer].tensor].shape[3], buffer, box, rows)
    if axis == WHOLE or not _row_by_row(chip, one, buffer, axis):
        stop = box[_axis(chip, buffer)][1] if _axis(chip, buffer) != WHOLE else 1
        return Needed(buffer, box, WHOLE, np.zeros_like(rows), np.full_like(rows, stop))
    return Needed(buffer, box, axis, rows, rows + 1)


def _row_by_row(chip: ChipProgram, one: Instruction, buffer: int, axis: int) -> bool:
    """True where row r of the result is made of row r of the source."""
    if isinstance(one, Mvm):
        return one.window is None
    if not isinstance(one, Vector):
        return True
    made, given = (chip.tensors[chip.buffers[number].tensor] for number in (one.targets[0], buffer))
    return given.stream == axis and len(given.shape) == len(made.shape) and given.shape[axis] == made.shape[axis]


def _through_window(window: Window, unit_rows: tuple[int, int], channels: int, buffer: int, box: Box, rows: np.ndarray) -> Needed:
    """Rows of a map that rows of sums need: those of the kernel's rows that the unit holds, within the map."""
    per_row = window.kernel[1] * channels
    top = unit_rows[0] // per_row * window.dilations[0] - window.pads[0]
    bottom = (unit_rows[1] - 1) // per_row * window.dilations[0] - window.pads[0]
    low = np.clip(rows * window.strides[0] + top, 0, window.size[0])
    high = np.clip(rows * window.strides[0] + bottom + 1, 0, window.size[0])
    return Needed(buffer, box, 1, np.minimum(low, high), high)
