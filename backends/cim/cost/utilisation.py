"""How much of a chip a program uses: arrays, their cells, and their time."""

from __future__ import annotations

from dataclasses import dataclass

from netwright.backends.cim.cost.delays import array_cycle_ns
from netwright.backends.cim.cost.mvm import Product
from netwright.backends.cim.cost.shape import polarities
from netwright.backends.cim.program.model import HOST, ChipProgram, Mvm, Unit
from netwright.backends.cim.schedule.model import Timeline
from netwright.backends.cim.simulator.activity import Trace


@dataclass(frozen=True, slots=True)
class Utilisation:
    """Shares of a chip, 0 to 1.

    Attributes:
        arrays: arrays with weights in any phase, of all.
        cells: cells with weights in the fullest phase, of all cells of the chip.
        packing: cells with weights, of the cells of arrays with weights: what ragged edges leave over. Phases count one by one.
        busy: time that arrays with weights compute, of their time while samples follow each other.
        tile_arrays: arrays with weights, of the arrays of each tile.
        tile_busy: time that a tile's arrays with weights compute.
    """

    arrays: float
    cells: float
    packing: float
    busy: float
    tile_arrays: dict[int, float]
    tile_busy: dict[int, float]


def measure(chip: ChipProgram, trace: Trace, timeline: Timeline) -> Utilisation:
    """How much of the chip a program uses.

    Args:
        chip: the program.
        trace: what it did.
        timeline: its schedule.
    """
    array = chip.arch.array
    per_array = array.rows * array.columns
    cells: dict[int, int] = {}
    taken: dict[int, set[int]] = {}
    reserved = 0
    for unit in chip.units:
        cells[unit.phase] = cells.get(unit.phase, 0) + _cells(chip, unit)
        taken.setdefault(unit.tile, set()).update(range(unit.first_array, unit.first_array + unit.arrays))
        reserved += unit.arrays * per_array
    used = sum(len(arrays) for arrays in taken.values())
    work = _array_ns(chip, trace)
    time = timeline.interval_ns * trace.samples
    return Utilisation(
        arrays=used / chip.arch.arrays,
        cells=max(cells.values(), default=0) / (chip.arch.arrays * per_array),
        packing=sum(cells.values()) / reserved if reserved else 0.0,
        busy=min(1.0, sum(work.values()) / (used * time)) if used and time else 0.0,
        tile_arrays={tile: len(arrays) / chip.arch.tile_arrays for tile, arrays in sorted(taken.items())},
        tile_busy={tile: min(1.0, work.get(tile, 0.0) / (len(arrays) * time)) if time else 0.0 for tile, arrays in sorted(taken.items())},
    )


def product_of(chip: ChipProgram, unit: Unit) -> Product:
    """The part of a matrix that a unit holds."""
    return Product(chip.matrices[unit.matrix].coding, unit.rows[1] - unit.rows[0], unit.columns[1] - unit.columns[0])


def _cells(chip: ChipProgram, unit: Unit) -> int:
    product = product_of(chip, unit)
    return product.rows * product.columns


def _array_ns(chip: ChipProgram, trace: Trace) -> dict[int, float]:
    """Time that arrays computed, over all samples, summed over arrays, by tile."""
    cycle = array_cycle_ns(chip.arch)
    work: dict[int, float] = {}
    for (tile, index), activity in trace.activities.items():
        if activity.mvm is None or tile == HOST:
            continue
        instruction = chip.tiles[tile][index]
        if isinstance(instruction, Mvm):
            product = product_of(chip, chip.units[instruction.unit])
            pair = polarities(product.coding.encoding)
            across = -(-product.columns // pair // chip.arch.array.columns) * pair
            work[tile] = work.get(tile, 0.0) + activity.mvm.cycles * across * cycle
    return work
