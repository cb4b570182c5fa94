"""Stage after stage: units are placed, and what their tiles do becomes tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.cost.delays import vector_ns
from netwright.backends.cim.mapping.boxes import set_axis, spans, whole
from netwright.backends.cim.mapping.facts import Facts
from netwright.backends.cim.mapping.floor import Floor
from netwright.backends.cim.mapping.layout import Box
from netwright.backends.cim.mapping.regions import Piece
from netwright.backends.cim.mapping.stages import Product, Rescale, Stage
from netwright.backends.cim.mapping.tasks import Part, Task
from netwright.backends.cim.mapping.units import Pattern, pattern_of
from netwright.backends.cim.program.access import window_box
from netwright.backends.cim.program.model import (
    HOST,
    Accumulate,
    Matrix,
    Mvm,
    Requantize,
    Scaling,
    Tensor,
    Unit,
    Vector,
)
from netwright.ir.errors import UnsupportedModelError


@dataclass
class Plan:
    """What has been decided so far.

    Attributes:
        facts: of tensors; partial sums are added.
        tasks: in an order in which everything is made before it is read.
        matrices: weights in arrays.
        units: parts of them on tiles.
        pieces: regions in the order of their numbers.
        scalings: of sums.
        notes: for the user.
    """

    facts: Facts
    tasks: list[Task] = field(default_factory=list[Task])
    matrices: list[Matrix] = field(default_factory=list[Matrix])
    units: list[Unit] = field(default_factory=list[Unit])
    pieces: list[Piece] = field(default_factory=list[Piece])
    scalings: list[Scaling] = field(default_factory=list[Scaling])
    notes: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Placed:
    """A matrix on the chip: its pattern, and the unit of each (copy, range of J, range of K)."""

    pattern: Pattern
    units: tuple[tuple[tuple[int, ...], ...], ...]


class Planner:
    """Places stages in order.

    Args:
        arch: the chip.
        facts: of tensors.
        copies: of each matrix, by weight's name; 1 where it is not there.
    """

    def __init__(self, arch: Arch, facts: Facts, copies: dict[str, int]) -> None:
        self.plan = Plan(facts)
        self._arch = arch
        self._floor = Floor(arch)
        self._copies = copies
        self._matrices: dict[tuple[str, object], int] = {}
        self._placed: dict[int, Placed] = {}
        self._homes: dict[str, list[int]] = {}
        self._phase = 0

    def add(self, stage: Stage) -> None:
        """Place one stage, behind those that it reads."""
        if isinstance(stage, Product):
            self._product(stage)
        elif isinstance(stage, Rescale):
            self._rescale(stage, *self._whole_on_one(stage))
        else:
            self._piece(stage)

    # ---- products --------------------------------------------------------------------------------------------------

    def _product(self, one: Product) -> None:
        number = self._matrix(one)
        placed = self._placed.get(number) or self._place(number, one)
        axis = cut_axis(one)
        extent = one.shape[axis] if axis >= 0 else 1
        ranges = tuple(spans(extent, -(-extent // len(placed.units)))) if axis >= 0 else ((0, 1),)
        scaling = self._scaling(one.rescale)
        for copy, span in enumerate(ranges):
            box = set_axis(whole(one.shape), axis, span) if axis >= 0 else whole(one.shape)
            for columns, units in zip(placed.pattern.columns, placed.units[copy], strict=True):
                part = set_axis(box, len(box) - 1, columns)
                tile = self._sums(one, units, part)
                if one.rescale is not None:
                    self._requantize(one.rescale, scaling, part, tile)

    def _sums(self, one: Product, units: Sequence[int], box: Box) -> int:
        """Products of the units of one range of J, added up in a tree; the tile of the sum."""
        source = self.plan.facts.tensors[one.source]
        parts: list[tuple[int, str]] = []
        for place, number in enumerate(units):
            unit = self.plan.units[number]
            name = one.sums if len(units) == 1 else self._partial(one.sums, f"k{place}")
            need = (*box[:-1], unit.rows) if one.window is None else window_box(one.window, unit, source.shape[3], box)
            self._task(
                unit.tile,
                (Part(one.source, need),),
                Part(name, box),
                lambda s, t, unit=number: Mvm(unit, s[0], t[0], box, one.window, one.layer),
                one.layer,
            )
            parts.append((unit.tile, name))
        level = 0
        while len(parts) > 1:
            merged: list[tuple[int, str]] = []
            for place in range(0, len(parts) - 1, 2):
                (tile, first), (_, second) = parts[place : place + 2]
                name = one.sums if len(parts) == 2 else self._partial(one.sums, f"s{level}.{place // 2}")
                made = Part(name, box)
                given = (Part(first, box), Part(second, box))
                self._task(tile, given, made, lambda s, t: Accumulate(s, t[0], box, one.layer), one.layer)
                merged.append((tile, name))
            parts = merged + parts[len(parts) - len(parts) % 2 :]
            level += 1
        return parts[0][0]

    def _partial(self, name: str, suffix: str) -> str:
        full = f"{name}#{suffix}"
        model = self.plan.facts.tensors[name]
        self.plan.facts.tensors.setdefault(full, Tensor(full, model.dtype, model.shape, None, model.stream, model.batch_axis))
        return full

    def _matrix(self, one: Product) -> int:
        key = (one.weight, one.coding)
        if key not in self._matrices:
            self._matrices[key] = len(self.plan.matrices)
            self.plan.matrices.append(Matrix(one.weight, one.values, one.coding, one.layer))
        return self._matrices[key]

    def _place(self, number: int, one: Product) -> Placed:
        pattern = pattern_of(self._arch, one.coding, (one.values.shape[0], one.values.shape[1]))
        axis = cut_axis(one)
        copies = min(self._copies.get(one.weight, 1), one.shape[axis] if axis >= 0 else 1)
        if axis >= 0:
            copies = -(-one.shape[axis] // -(-one.shape[axis] // copies))
        found: list[tuple[tuple[int, ...], ...]] = []
        for copy in range(copies):
            groups: list[tuple[int, ...]] = []
            for columns in pattern.columns:
                near = list(self._homes.get(one.source, ()))
                units: list[int] = []
                for rows in pattern.rows:
                    arrays = pattern.arrays_of(rows, columns)
                    place = self._floor.take(arrays, near)
                    if place is None:
                        raise UnsupportedModelError(f"no room for {one.layer}", place=one.layer)
                    near = [*near, place[0]]
                    units.append(len(self.plan.units))
                    self.plan.units.append(Unit(number, rows, columns, *place, arrays, self._phase, copy))
                groups.append(tuple(units))
            found.append(tuple(groups))
        self._placed[number] = Placed(pattern, tuple(found))
        return self._placed[number]

    # ---- sums to bytes ---------------------------------------------------------------------------------------------

    def _scaling(self, one: Rescale | None) -> int:
        if one is not None:
            self.plan.scalings.append(one.scaling)
        return len(self.plan.scalings) - 1

    def _requantize(self, one: Rescale, scaling: int, box: Box, tile: int) -> None:
        given, made = (Part(one.source, box),), Part(one.target, box)
        self._task(tile, given, made, lambda s, t: Requantize(scaling, s[0], t[0], box, one.layer), one.layer)
        self._floor.load(tile, vector_ns(self._arch, elements=prod(stop - start for start, stop in box)), 0)

    def _whole_on_one(self, one: Rescale) -> tuple[int, Box]:
        shape = self.plan.facts.tensors[one.source].shape
        ns = vector_ns(self._arch, elements=prod(shape))
        return self._floor.work(ns, 5 * prod(shape), self._homes.get(one.source, ())), whole(shape)

    def _rescale(self, one: Rescale, tile: int, box: Box) -> None:
        self._requantize(one, self._scaling(one), box, tile)

    # ---- regions ---------------------------------------------------------------------------------------------------

    def _piece(self, one: Piece) -> None:
        number = len(self.plan.pieces)
        self.plan.pieces.append(one)
        tensors = self.plan.facts.tensors
        near = [tile for name in one.inputs for tile in self._homes.get(name, ())]
        amount = sum(bytes_of(tensors[name]) for name in (*one.inputs, *one.outputs))
        work = one.work
        ns = vector_ns(self._arch, elements=work.elements, macs=work.macs, special=work.special, moved=work.moved)
        tile = HOST if one.why_host else self._floor.work(ns, amount, near)
        given = tuple(Part(name, whole(tensors[name].shape)) for name in one.inputs)
        made = tuple(Part(name, whole(tensors[name].shape)) for name in one.outputs)
        box = made[0].box
        drains = len(given) == 1 and not self.plan.facts.reaches[one.name][0].whole
        task = Task(tile, given, made, lambda s, t: Vector(number, s, t, box, one.name), one.name, drains, self._phase)
        self.plan.tasks.append(task)
        for name in one.outputs:
            self._homes.setdefault(name, []).append(tile)

    def _task(self, tile: int, given: tuple[Part, ...], made: Part, make: object, layer: str) -> None:
        self.plan.tasks.append(Task(tile, given, (made,), make, layer, True, self._phase))  # pyright: ignore
        self._homes.setdefault(made.tensor, []).append(tile)


def cut_axis(one: Product) -> int:
    """The axis that copies of a product share out: the one within a row, so that rows stay in step; −1 where there is but one vector."""
    shape = one.shape
    if one.window is not None:
        return 2 if shape[2] > 1 else 1 if shape[1] > 1 else -1
    return next((axis for axis in range(len(shape) - 2, -1, -1) if shape[axis] > 1), -1)


def bytes_of(tensor: Tensor) -> int:
    """Bytes of a whole tensor."""
    return prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
