"""A chip program by hand: one product on one tile, its sums requantized by a region; and counts to account for it."""

from __future__ import annotations

import numpy as np

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.engines.base import MvmCounts
from netwright.backends.cim.program.model import (
    ChipProgram,
    Instruction,
    Load,
    Matrix,
    Mvm,
    Options,
    Region,
    Reload,
    Send,
    Unit,
    Vector,
    Work,
)
from netwright.backends.cim.schedule.model import Timeline
from netwright.backends.cim.simulator.activity import Activity, Trace


def chip_program(arch: Arch, coding: Coding, rows: int, outputs: int) -> ChipProgram:
    """Load, product, region, message on tile 0; a reload on tile 3."""
    instructions: tuple[Instruction, ...] = (
        Load(0, 1, ((0, 1), (0, rows))),
        Mvm(0, 1, 2, ((0, 1), (0, outputs)), layer="fc"),
        Vector(0, (2,), (3,), ((0, 1), (0, outputs)), layer="relu"),
        Send(0, 3, ((0, 1), (0, outputs)), to=3, layer="relu"),
    )
    matrix = Matrix("w", np.zeros((rows, outputs), np.int8), coding, "fc")
    arrays = -(-rows // arch.array.rows) * -(-outputs * 8 // arch.array.columns)
    units = (Unit(0, (0, rows), (0, outputs), 0, 0, arrays), Unit(0, (0, rows), (0, outputs), 3, 0, arrays, phase=1))
    return ChipProgram(
        name="hand",
        arch=arch,
        options=Options(),
        inputs=(),
        outputs=(),
        tensors={},
        buffers=(),
        matrices=(matrix,),
        units=units,
        regions=(Region("relu", b"", ("sums",), ("y",), batchable=True, work=Work(elements=outputs)),),
        scalings=(),
        tiles={0: instructions, 3: (Reload(1, layer="fc"),)},
    )


def full_counts(coding: Coding, rows: int, outputs: int, columns: int, digits: int, vectors: int = 1) -> MvmCounts:
    """What arrays do where every input and weight bit is 1."""
    blocks = -(-rows // coding.rows)
    cycles = vectors * blocks * digits
    row_cycles = vectors * rows * digits
    weight = (2**coding.digit_bits - 1) * (2**coding.cell_bits - 1)
    return MvmCounts(
        vectors=vectors,
        cycles=cycles,
        conversions=cycles * columns,
        conversion_bits=cycles * columns * coding.converter.bits,
        rows_on=row_cycles,
        row_cycles=row_cycles,
        enabled=row_cycles * columns,
        counts=row_cycles * columns * weight,
        macs=vectors * rows * outputs,
    )


def trace_of(counts: MvmCounts, samples: int = 2) -> Trace:
    """What the program did."""
    trace = Trace(samples=samples)
    trace.activities[0, 0] = Activity(dram_read=100, written_bytes=100)
    trace.activities[0, 1] = Activity(mvm=counts, read_bytes=100, written_bytes=400)
    trace.activities[0, 2] = Activity(elements=50, special=10, macs=20, read_bytes=400, written_bytes=100)
    trace.activities[0, 3] = Activity(messages=1, sent_bytes=100, byte_hops=300, read_bytes=100)
    trace.activities[3, 0] = Activity(cells_written=1000, rows_written=128, dram_read=500)
    return trace


def timeline_of(latency: float = 1000.0, interval: float = 400.0) -> Timeline:
    """A schedule without instructions."""
    return Timeline(latency, interval, "the arrays of tile 0", (), {})
