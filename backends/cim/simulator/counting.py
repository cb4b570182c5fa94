"""What each instruction moves and does besides its products: made of boxes, for one sample, and scaled by samples.

- A product reads, for every vector, the rows of K of its unit from the tile's memory (what a window finds outside the map is not
  read), and writes its sums.
- A message is a packet for each row of its box along the tensor's `stream` axis, one packet where there is none.
- A region's share of its work is its box's share of the first target.
- A Reload reads the weights from DRAM once for every sample, a Write from the tile's memory.
"""

from __future__ import annotations

from math import prod
from operator import attrgetter

from netwright.backends.cim.arch.model import Arch
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
    Unit,
    Vector,
    Window,
    Write,
)
from netwright.backends.cim.schedule.mesh import hops
from netwright.backends.cim.simulator.activity import Activity


def count(chip: ChipProgram, tile: int, one: Instruction) -> Activity:
    """An instruction's activity but for its arrays', of one sample."""
    found = Activity()
    if tile == HOST:
        return found
    if isinstance(one, Mvm):
        found.read_bytes, found.written_bytes = _product_reads(chip, one), _bytes(chip, one.target, one.box)
    elif isinstance(one, Send):
        found.read_bytes = found.sent_bytes = _bytes(chip, one.source, one.box)
        found.messages = _packets(chip, one)
        routers = hops(chip.arch.network, tile, one.to)
        found.byte_hops = (found.sent_bytes + found.messages * chip.arch.network.header_bytes) * routers
    elif isinstance(one, Reload | Write):
        _reload(chip, chip.units[one.unit], found)
    else:
        _moved(chip, one, found)
    if isinstance(one, Write):
        found.read_bytes, found.dram_read = found.dram_read, 0
    elif isinstance(one, Accumulate):
        found.elements = volume(one.box) * max(len(one.sources) - 1, 0)
        found.special = volume(one.box) if one.denominator != 1 else 0
    elif isinstance(one, Requantize):
        found.elements = volume(one.box)
    elif isinstance(one, Vector):
        _vector(chip, one, found)
    return found


def cells_of(arch: Arch, unit: Unit, weight_bits: int, cell_bits: int, *, differential: bool) -> tuple[int, int]:
    """Cells that hold a unit's weights, and rows that are written for them, one row of one array at a time."""
    rows, columns = unit.rows[1] - unit.rows[0], unit.columns[1] - unit.columns[0]
    slices = 2 * -(-(weight_bits - 1) // cell_bits) if differential else -(-weight_bits // cell_bits)
    down = -(-rows // arch.array.rows)
    return rows * columns * slices, rows * -(-unit.arrays // down)


def _reload(chip: ChipProgram, unit: Unit, found: Activity) -> None:
    coding = chip.matrices[unit.matrix].coding
    differential = coding.encoding == "differential"
    bits = 1 if coding.encoding == "xnor" else coding.weight_bits
    found.cells_written, found.rows_written = cells_of(chip.arch, unit, bits, coding.cell_bits, differential=differential)
    weights = (unit.rows[1] - unit.rows[0]) * (unit.columns[1] - unit.columns[0])
    found.dram_read = -(-weights * bits // 8)


def _moved(chip: ChipProgram, one: Instruction, found: Activity) -> None:
    read = sum(_bytes(chip, buffer, box) for buffer, box in reads(chip, one))
    written = sum(_bytes(chip, buffer, box) for buffer, box in writes(chip, one))
    if isinstance(one, Load):
        found.dram_read, found.written_bytes = read, written
    elif isinstance(one, Store):
        found.read_bytes, found.dram_written = read, written
    elif isinstance(one, Receive | Accumulate | Requantize | Vector):
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


def _packets(chip: ChipProgram, one: Send) -> int:
    stream = chip.tensors[chip.buffers[one.source].tensor].stream
    return one.box[stream][1] - one.box[stream][0] if stream >= 0 else 1


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
