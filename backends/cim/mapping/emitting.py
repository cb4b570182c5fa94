"""Tasks as instructions, tile by tile, with reloads where a unit's arrays hold others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from netwright.backends.cim.mapping.fitting import Laid
from netwright.backends.cim.mapping.tasks import Task
from netwright.backends.cim.program.model import HOST, Instruction, Reload, Unit, Vector


def instructions(laid: Laid, units: Sequence[Unit]) -> list[tuple[int, Instruction]]:
    """All instructions and their tiles, in an order in which nothing is read before it is made; each tile follows its own of them.

    A unit is loaded before its first product where its arrays do not hold it: never where all weights fit; else every sample anew, since
    the next sample finds the arrays as this one leaves them. Tasks of units that make nothing write their arrays themselves.
    """
    found: list[tuple[int, Instruction]] = []
    holds = _left(laid.tasks, units)
    for task in laid.tasks:
        if task.unit >= 0 and not task.writes:
            _hold(units[task.unit], task.unit, holds)
        elif task.unit >= 0 and not _is_held(units[task.unit], task.unit, holds):
            found.append((task.tile, Reload(task.unit, task.layer)))
            _hold(units[task.unit], task.unit, holds)
        sources, targets = (
            tuple(laid.numbers[HOST if part.host else task.tile, part.tensor] for part in side) for side in (task.reads, task.writes)
        )
        found.append((task.tile, task.make(sources, targets)))
    return found


def by_tile(order: Iterable[tuple[int, Instruction]]) -> tuple[dict[int, tuple[Instruction, ...]], tuple[Vector, ...]]:
    """Every tile's list, and the host's."""
    tiles: dict[int, list[Instruction]] = {}
    for tile, one in order:
        tiles.setdefault(tile, []).append(one)
    host = tuple(one for one in tiles.pop(HOST, []) if isinstance(one, Vector))
    return {tile: tuple(tiles[tile]) for tile in sorted(tiles)}, host


def _left(tasks: Sequence[Task], units: Sequence[Unit]) -> dict[tuple[int, int], int]:
    """What the arrays hold when a sample is done; what they hold of the first load and nobody replaced is among it."""
    holds: dict[tuple[int, int], int] = {}
    for task in tasks:
        if task.unit >= 0:
            _hold(units[task.unit], task.unit, holds)
    return {array: number for array, number in holds.items() if units[number].phase == 0}


def _hold(unit: Unit, number: int, holds: dict[tuple[int, int], int]) -> None:
    holds.update(((unit.tile, array), number) for array in range(unit.first_array, unit.first_array + unit.arrays))


def _is_held(unit: Unit, number: int, holds: dict[tuple[int, int], int]) -> bool:
    return all(holds.get((unit.tile, array)) == number for array in range(unit.first_array, unit.first_array + unit.arrays))
