"""Cutting a matrix into units that fit on tiles: columns first, rows of K only where one column of arrays is too much for a tile."""

from __future__ import annotations

from dataclasses import dataclass

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.coding.slicing import columns_of
from netwright.backends.cim.mapping.boxes import spans
from netwright.ir.errors import UnsupportedModelError


@dataclass(frozen=True, slots=True)
class Pattern:
    """How a matrix [K, J] lies in arrays, and how it is cut.

    Attributes:
        size: K and J.
        array: rows of K and outputs that one array holds.
        step: rows of K and outputs of a unit.
    """

    size: tuple[int, int]
    array: tuple[int, int]
    step: tuple[int, int]

    @property
    def rows(self) -> tuple[tuple[int, int], ...]:
        """Ranges of K."""
        return tuple(spans(self.size[0], self.step[0]))

    @property
    def columns(self) -> tuple[tuple[int, int], ...]:
        """Ranges of J."""
        return tuple(spans(self.size[1], self.step[1]))

    @property
    def arrays(self) -> int:
        """Arrays of one copy."""
        return sum(self.arrays_of(rows, columns) for rows in self.rows for columns in self.columns)

    def arrays_of(self, rows: tuple[int, int], columns: tuple[int, int]) -> int:
        """Arrays of one unit."""
        return -(-(rows[1] - rows[0]) // self.array[0]) * -(-(columns[1] - columns[0]) // self.array[1])


def pattern_of(arch: Arch, coding: Coding, size: tuple[int, int], *, room: int = 0) -> Pattern:
    """How a matrix is cut into units of at most so many arrays.

    Args:
        arch: the chip.
        coding: of the products.
        size: K and J.
        room: arrays that a unit may have; those of a tile where 0.

    Raises:
        UnsupportedModelError: an array has too few rows or columns for a single weight.
    """
    room = room or arch.tile_arrays
    rows = max(1, arch.array.rows // coding.rows) * coding.rows
    outputs = arch.array.columns // columns_of(coding)
    if coding.rows > arch.array.rows or not outputs:
        raise UnsupportedModelError(
            f"A product reads {coding.rows} rows at once and needs {columns_of(coding)} columns an output; "
            f"arrays of {arch.name} have {arch.array.rows} × {arch.array.columns}.",
            place=arch.name,
            remedy="Lower the model for this chip, or choose one with larger arrays.",
        )
    down, across = -(-size[0] // rows), -(-size[1] // outputs)
    if down <= room:
        count = -(-across // (room // down))
        return Pattern(size, (rows, outputs), (size[0], min(size[1], -(-across // count) * outputs)))
    count = -(-down // room)
    return Pattern(size, (rows, outputs), (-(-down // count) * rows, min(size[1], outputs)))
