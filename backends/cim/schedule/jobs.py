"""Instructions as jobs: rows, what each takes of which resource, and what it waits for."""

from __future__ import annotations

from dataclasses import dataclass, field

import ml_dtypes
import numpy as np

from netwright.backends.cim.cost.delays import dram_ns, link_ns, memory_ns, mvm_ns, vector_ns, write_ns
from netwright.backends.cim.program.access import volume
from netwright.backends.cim.program.layout import Box
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
    Write,
)
from netwright.backends.cim.program.stored import weight_bytes
from netwright.backends.cim.schedule.streams import Stream

Wait = tuple[int, np.ndarray]
"""A job, and how many of its rows must be there before each row of the one that waits, int64 [rows]."""


@dataclass(slots=True)
class Takes:
    """What one row of a job takes.

    Attributes:
        work_ns: of arrays or vector unit; writing time of arrays for a reload.
        read_ns: of the tile memory's read port.
        write_ns: of the tile memory's write port.
        link_ns: of each link and router port on its way.
        dram_ns: of the port to outer memory.
        bytes: on each link.
    """

    work_ns: float = 0.0
    read_ns: float = 0.0
    write_ns: float = 0.0
    link_ns: float = 0.0
    dram_ns: float = 0.0
    bytes: int = 0


@dataclass(slots=True)
class Job:
    """An instruction in a schedule, or a gate: something that only waits.

    Attributes:
        tile: whose.
        index: in the tile's list; −1 for gates.
        one: the instruction; None for gates.
        stream: its rows.
        takes: what each takes.
        waits: for rows of other jobs, row by row.
        after: jobs that must be over before the first row.
        again: for rows of other jobs some samples before, row by row, and how many samples: those that need what this one writes over.
        behind: jobs that must be over in the sample before, before the first row.
    """

    tile: int
    index: int
    one: Instruction | None
    stream: Stream
    takes: Takes
    waits: list[Wait] = field(default_factory=list[Wait])
    after: list[int] = field(default_factory=list[int])
    again: list[tuple[Wait, int]] = field(default_factory=list[tuple[Wait, int]])
    behind: list[int] = field(default_factory=list[int])

    @property
    def place(self) -> str:
        """The instruction in words."""
        if self.one is None:
            return "a gate between parts of the program"
        layer = f" of {self.one.layer}" if self.one.layer else ""
        return f"tile {self.tile}, instruction {self.index} ({type(self.one).__name__}{layer})"


def gate(jobs: list[Job], after: list[int], time_ns: float = 0.0) -> int:
    """Add a job that is over as soon as some others are, or a little later; its number."""
    jobs.append(Job(HOST, -1, None, Stream(1, (), ()), Takes(work_ns=time_ns), after=after))
    return len(jobs) - 1


def collector(jobs: list[Job], rows: int, waits: list[Wait]) -> int:
    """Add a job whose rows are there as soon as rows of some others are; its number. Many that wait for many wait for it instead."""
    jobs.append(Job(HOST, -1, None, Stream(rows, (), ()), Takes(), waits=waits))
    return len(jobs) - 1


def takes(chip: ChipProgram, one: Instruction, stream: Stream, *, on_host: bool = False) -> Takes:
    """What each row of an instruction takes, all rows being equal. What the host does is not the chip's: it takes nothing."""
    arch, rows = chip.arch, stream.rows
    if on_host:
        return Takes()
    if isinstance(one, Mvm):
        return _mvm(chip, one, rows)
    if isinstance(one, Reload):
        return _reload(chip, one)
    if isinstance(one, Write):
        unit = chip.units[one.unit]
        depth = unit.rows[1] - unit.rows[0]
        return Takes(write_ns(arch, min(depth, arch.array.rows)), memory_ns(arch, _bytes(chip, one.source, one.box)))
    if isinstance(one, Send):
        payload = _bytes(chip, one.source, one.box) // rows
        return Takes(read_ns=memory_ns(arch, payload), link_ns=link_ns(arch, payload), bytes=payload + arch.network.header_bytes)
    if isinstance(one, Receive):
        return Takes(write_ns=memory_ns(arch, _bytes(chip, one.target, one.box) // rows))
    if isinstance(one, Load | Store):
        payload = _bytes(chip, one.source, one.box) // rows
        port = memory_ns(arch, payload)
        read, write = (0.0, port) if isinstance(one, Load) else (port, 0.0)
        return Takes(0.0, read, write, link_ns(arch, payload), dram_ns(arch, payload), payload + arch.network.header_bytes)
    if isinstance(one, Accumulate | Requantize | Vector):
        return _vector(chip, one, stream)
    return Takes()


def _mvm(chip: ChipProgram, one: Mvm, rows: int) -> Takes:
    """A row is so many vectors, one after the other; each reads the unit's rows of K and writes its columns' sums."""
    unit = chip.units[one.unit]
    coding = chip.matrices[unit.matrix].coding
    depth = unit.rows[1] - unit.rows[0]
    vectors = volume(one.box[:-1]) // rows
    given, made = (itemsize(chip.tensors[chip.buffers[number].tensor].dtype) for number in (one.source, one.target))
    columns = one.box[-1][1] - one.box[-1][0]
    return Takes(
        work_ns=vectors * mvm_ns(chip.arch, coding, -(-depth // coding.rows)),
        read_ns=memory_ns(chip.arch, vectors * depth * given),
        write_ns=memory_ns(chip.arch, vectors * columns * made),
    )


def _vector(chip: ChipProgram, one: Accumulate | Requantize | Vector, stream: Stream) -> Takes:
    """Everything that a vector unit does, in equal parts for the rows; sources are read once, row by row or before the only row."""
    arch, rows = chip.arch, stream.rows
    made = sum(_bytes(chip, written.buffer, written.box) for written in stream.written)
    given = sum(_bytes(chip, needed.buffer, needed.box) for needed in stream.needed)
    if isinstance(one, Vector):
        region = chip.regions[one.region]
        share = volume(one.box) / max(volume(tuple((0, extent) for extent in chip.tensors[region.outputs[0]].shape)), 1)
        work = region.work
        parts = [round(amount * share / rows) for amount in (work.elements, work.macs, work.special, work.moved)]
        time = vector_ns(arch, elements=parts[0], macs=parts[1], special=parts[2], moved=parts[3])
    else:
        terms = len(one.sources) - 1 if isinstance(one, Accumulate) else 1
        divided = isinstance(one, Accumulate) and one.denominator != 1
        time = vector_ns(arch, elements=volume(one.box) * terms // rows, special=volume(one.box) * divided // rows)
    return Takes(time, memory_ns(arch, given // rows), memory_ns(arch, made // rows))


def _reload(chip: ChipProgram, one: Reload) -> Takes:
    """Weights come from outer memory; arrays are written side by side, row by row."""
    unit = chip.units[one.unit]
    payload = weight_bytes(chip.matrices[unit.matrix].coding, unit)
    return Takes(
        work_ns=write_ns(chip.arch, min(unit.rows[1] - unit.rows[0], chip.arch.array.rows)),
        link_ns=link_ns(chip.arch, payload),
        dram_ns=dram_ns(chip.arch, payload),
        bytes=payload + chip.arch.network.header_bytes,
    )


def _bytes(chip: ChipProgram, buffer: int, box: Box) -> int:
    return volume(box) * itemsize(chip.tensors[chip.buffers[buffer].tensor].dtype)


def itemsize(dtype: str) -> int:
    """Bytes of an element of a type with this name, those of ml_dtypes included."""
    return np.dtype(getattr(ml_dtypes, dtype, dtype)).itemsize
