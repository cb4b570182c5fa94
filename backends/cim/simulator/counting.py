"""What each instruction moves and does besides its products: made of boxes, for one sample, and scaled by samples.

- A product reads, for every vector, the rows of K of its unit from the tile's memory (what a window finds outside the map is not
  read), and writes its sums.
- A message is a packet for each row of its box along the tensor's `stream` axis, one packet where there is none; a unit's weights are one
  packet. What comes from outer memory or goes there passes the mesh from or to the port's tile: its bytes and headers count at every
  router, as the schedule counts them on every link.
- A region's share of its work is its box's share of the first target.
- A Reload reads the weights from DRAM, by the bits of their coding, once for every sample; the first load takes what Reloads would. A Write
  reads what is to be written, element by element, from the tile's memory.
"""

from __future__ import annotations

from math import prod
from operator import attrgetter

from netwright.backends.cim.program.access import reads, shape_of, volume, writes
from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.memory import item_size
from netwright.backends.cim.program.model import (
    HOST,
    Accumulate,
    ChipProgram,
    Instruction,
    Load,
    Mvm,
    Receive,
    Reload,
    Requantize,
    Send,
    Store,
    Vector,
    Window,
    Write,
)
from netwright.backends.cim.program.stored import weight_bytes, weight_cells, weight_rows
from netwright.backends.cim.schedule.mesh import PORT, byte_hops
from netwright.backends.cim.simulator.activity import Activity


def count(chip: ChipProgram, tile: int, one: Instruction) -> Activity:
    """An instruction's activity but for its arrays', of one sample."""
    found = Activity()
    if tile == HOST:
        return found
    if isinstance(one, Mvm):
        found.read_bytes, found.written_bytes = _product_reads(chip, one), _bytes(chip, one.target, one.box)
    else:
        _moved(chip, one, found)
    if isinstance(one, Send | Load | Store):
        _carried(chip, tile, one, found)
    elif isinstance(one, Reload | Write):
        _stored(chip, tile, one, found)
    elif isinstance(one, Accumulate):
        found.elements = volume(one.box) * max(len(one.sources) - 1, 0)
        found.special = volume(one.box) if one.denominator != 1 else 0
    elif isinstance(one, Requantize):
        found.elements = volume(one.box)
    elif isinstance(one, Vector):
        _vector(chip, one, found)
    return found


def _stored(chip: ChipProgram, tile: int, one: Reload | Write, found: Activity) -> None:
    unit = chip.units[one.unit]
    coding = chip.matrices[unit.matrix].coding
    found.cells_written, found.rows_written = weight_cells(coding, unit), weight_rows(chip.arch, unit)
    if isinstance(one, Reload):
        found.dram_read = weight_bytes(coding, unit)
        _sent(chip, PORT, tile, found.dram_read, 1, found)


def _moved(chip: ChipProgram, one: Instruction, found: Activity) -> None:
    read = sum(_bytes(chip, buffer, box) for buffer, box in reads(chip, one))
    written = sum(_bytes(chip, buffer, box) for buffer, box in writes(chip, one))
    if isinstance(one, Load):
        found.dram_read, found.written_bytes = read, written
    elif isinstance(one, Store):
        found.read_bytes, found.dram_written = read, written
    elif isinstance(one, Send | Receive | Write | Accumulate | Requantize | Vector):
        found.read_bytes, found.written_bytes = read, written


def _vector(chip: ChipProgram, one: Vector, found: Activity) -> None:
    work = chip.regions[one.region].work
    whole, part = prod(shape_of(chip, one.targets[0])), volume(one.box)
    share = (part, whole) if whole else (1, 1)
    elements, macs, special, moved = (-(-n * share[0] // share[1]) for n in (work.elements, work.macs, work.special, work.moved))
    found.elements, found.macs, found.special = elements, macs, special
    if elements or macs or special:  # a region that only moves does so between its sources and targets, already counted
        found.read_bytes += moved
        found.written_bytes += moved


def _bytes(chip: ChipProgram, buffer: int, box: Box) -> int:
    return volume(box) * item_size(chip.tensors[chip.buffers[buffer].tensor].dtype)


def _carried(chip: ChipProgram, tile: int, one: Send | Load | Store, found: Activity) -> None:
    stream = chip.tensors[chip.buffers[one.source].tensor].stream
    start = PORT if isinstance(one, Load) else tile
    end = one.to if isinstance(one, Send) else PORT if isinstance(one, Store) else tile
    packets = max(one.box[stream][1] - one.box[stream][0], 1) if stream >= 0 else 1
    _sent(chip, start, end, _bytes(chip, one.source, one.box), packets, found)


def _sent(chip: ChipProgram, start: int, end: int, payload: int, packets: int, found: Activity) -> None:
    found.messages, found.sent_bytes = packets, payload
    found.byte_hops = byte_hops(chip.arch.network, start, end, payload, packets)


def _product_reads(chip: ChipProgram, one: Mvm) -> int:
    unit = chip.units[one.unit]
    if one.window is None:
        return volume(one.box[:-1]) * (unit.rows[1] - unit.rows[0])
    return windowed_reads(one.window, unit.rows, shape_of(chip, one.source)[3], one.box)


def windowed_reads(window: Window, rows: tuple[int, int], channels: int, box: Box) -> int:
    """Elements of a map that the rows of K of all vectors of a box are read from: places of the kernel within the map, times channels."""
    down = [_within(box[1], k, window, 0) for k in range(window.kernel[0])]
    right = [_within(box[2], k, window, 1) for k in range(window.kernel[1])]
    total = 0
    for place in range(rows[0] // channels, -(-rows[1] // channels)):
        taken = min(rows[1], (place + 1) * channels) - max(rows[0], place * channels)
        total += down[place // window.kernel[1]] * right[place % window.kernel[1]] * taken
    return total


def _within(results: tuple[int, int], kernel: int, window: Window, axis: int) -> int:
    stride, size = window.strides[axis], window.size[axis]
    offset = kernel * window.dilations[axis] - window.pads[axis]
    first = max(results[0], -(offset // stride))
    last = min(results[1], (size - 1 - offset) // stride + 1)
    return max(0, last - first)


def scaled(one: Activity, samples: int) -> Activity:
    """The activity of so many samples, from one sample's."""
    return Activity(None, *[figure * samples for figure in _figures(one)])


_figures = attrgetter(
    *("elements", "macs", "special", "read_bytes", "written_bytes", "dram_read", "dram_written"),
    *("messages", "sent_bytes", "byte_hops", "cells_written", "rows_written"),
)
