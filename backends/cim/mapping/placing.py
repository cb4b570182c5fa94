"""Matrices get their arrays; where none are left, those that are there are written anew: another phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.mapping.floor import Floor
from netwright.backends.cim.mapping.stages import Product, cut_axis
from netwright.backends.cim.mapping.units import Pattern, pattern_of
from netwright.backends.cim.program.model import Matrix, Unit
from netwright.ir.errors import UnsupportedModelError


@dataclass(frozen=True, slots=True)
class Placed:
    """A matrix on the chip: its pattern, and the number of the unit of each copy, range of J, and range of K."""

    pattern: Pattern
    units: tuple[tuple[tuple[int, ...], ...], ...]


class Placer:
    """Hands out arrays.

    Args:
        arch: the chip.
        floor: the chip while it fills.
        copies: of each matrix; 1 where it is not there.

    Attributes:
        matrices: weights in arrays.
        units: parts of them on tiles.
        phase: how often arrays were written anew.
    """

    def __init__(self, arch: Arch, floor: Floor, copies: Mapping[tuple[str, Coding], int]) -> None:
        self.matrices: list[Matrix] = []
        self.units: list[Unit] = []
        self.phase = 0
        self._arch = arch
        self._floor = floor
        self._copies = copies
        self._numbers: dict[tuple[str, Coding], int] = {}
        self._placed: dict[int, Placed] = {}
        self._loaded: dict[int, int] = {}

    def place(self, one: Product, near: Sequence[int]) -> Placed:
        """The arrays of a product's matrix: those of the first product with it, else new ones near some tiles.

        Raises:
            UnsupportedModelError: no tile has arrays enough for the smallest unit.
        """
        key = (one.weight, one.coding)
        if key not in self._numbers:
            self._numbers[key] = len(self.matrices)
            self.matrices.append(Matrix(one.weight, one.values, one.coding, one.layer))
        number = self._numbers[key]
        if number not in self._placed:
            self._placed[number] = self._new(number, one, near)
        elif any(self._loaded[unit] < self.phase for copy in self._placed[number].units for group in copy for unit in group):
            self.phase += 1
            for copy in self._placed[number].units:
                self._loaded |= dict.fromkeys((unit for group in copy for unit in group), self.phase)
        return self._placed[number]

    def announce(self, one: Product) -> int:
        """The number of a product's matrix that is computed, of which `place_written` then places one after the other."""
        self.matrices.append(Matrix(one.weight, one.values, one.coding, one.layer, one.weight))
        return len(self.matrices) - 1

    def place_written(self, number: int, one: Product, near: Sequence[int]) -> Placed:
        """Arrays for one matrix of a product whose weights are computed: near some tiles, side by side with those before.

        Raises:
            UnsupportedModelError: no tile has arrays enough for the smallest unit.
        """
        size = (one.values.shape[0], one.values.shape[1])
        room = self._arch.tile_arrays
        while room:
            pattern = pattern_of(self._arch, one.coding, size, room=room)
            before, kept = self._floor.snapshot(), len(self.units)
            found = self._copy(number, pattern, 0, near, _row_bytes(one, 1), fresh=False)
            if found is not None:
                return Placed(pattern, (found,))
            self._floor.restore(before)
            del self.units[kept:]
            room //= 2
        self._next_phase()
        pattern = pattern_of(self._arch, one.coding, size)
        made = self._copy(number, pattern, 0, near, _row_bytes(one, 1), fresh=True)
        assert made is not None, "fresh arrays are found, or it raises"
        return Placed(pattern, (made,))

    def phase_of(self, unit: int) -> int:
        """The phase in which a unit was last written."""
        return self._loaded[unit]

    def _new(self, number: int, one: Product, near: Sequence[int]) -> Placed:
        axis = cut_axis(one)
        extent = one.shape[axis] if axis >= 0 else 1
        copies = max(1, min(self._copies.get((one.weight, one.coding), 1), extent))
        copies = -(-extent // -(-extent // copies))
        size = (one.values.shape[0], one.values.shape[1])
        room = self._arch.tile_arrays
        while room:
            pattern = pattern_of(self._arch, one.coding, size, room=room)
            before = self._floor.snapshot()
            kept = len(self.units)
            found = [self._copy(number, pattern, copy, near, _row_bytes(one, copies), fresh=False) for copy in range(copies)]
            if all(copy is not None for copy in found):
                return Placed(pattern, tuple(copy for copy in found if copy is not None))
            self._floor.restore(before)
            del self.units[kept:]
            room //= 2
        self._next_phase()
        pattern = pattern_of(self._arch, one.coding, size)
        made = [self._copy(number, pattern, copy, near, _row_bytes(one, copies), fresh=True) for copy in range(copies)]
        return Placed(pattern, tuple(copy for copy in made if copy is not None))

    def _copy(
        self, number: int, pattern: Pattern, copy: int, near: Sequence[int], row: tuple[int, int], *, fresh: bool
    ) -> tuple[tuple[int, ...], ...] | None:
        """The units of one copy; None where they do not fit and arrays may not be written anew."""
        groups: list[tuple[int, ...]] = []
        for columns in pattern.columns:
            close = list(near)
            units: list[int] = []
            for rows in pattern.rows:
                arrays = pattern.arrays_of(rows, columns)
                amount = row[0] + row[1] * (columns[1] - columns[0])
                place = self._floor.take(arrays, amount, close)
                if place is None and fresh:
                    self._next_phase()
                    place = self._floor.take(arrays, amount, close)
                if place is None:
                    if not fresh:
                        return None
                    raise UnsupportedModelError(
                        f"{self.matrices[number].layer} needs {arrays} arrays on one tile; {self._arch.name} has {self._arch.tile_arrays}.",
                        place=self.matrices[number].layer,
                        remedy="Choose a chip with more arrays in a tile.",
                    )
                close.append(place[0])
                units.append(len(self.units))
                self._loaded[len(self.units)] = self.phase
                self.units.append(Unit(number, rows, columns, place[0], place[1], arrays, self.phase, copy))
            groups.append(tuple(units))
        return tuple(groups)

    def _next_phase(self) -> None:
        self.phase += 1
        self._floor.clear()


def _row_bytes(one: Product, copies: int) -> tuple[int, int]:
    """Memory that goes with one copy's rows: of inputs, and for each output: two rows of sums (4 bytes) and of results (1)."""
    if one.lead is not None:
        vectors, rows = one.shape[-2], one.values.shape[0]
        return vectors * rows, vectors * 5 + rows
    rows = next((extent for extent in one.shape[:-1] if extent > 1), 1)
    width = -(-one.positions // (rows * copies))
    if one.window is None:
        return 2 * width * one.values.shape[0], 2 * width * 5
    window = one.window
    channels = one.values.shape[0] // (window.kernel[0] * window.kernel[1])
    kept = (window.kernel[0] - 1) * window.dilations[0] + 1 + window.strides[0]
    return kept * width * window.strides[1] * channels, 2 * width * 5
