"""Stage after stage: matrices and regions are placed, and what their tiles do becomes tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.cost.delays import vector_ns
from netwright.backends.cim.mapping.boxes import meet, set_axis, spans, volume, whole
from netwright.backends.cim.mapping.cutting import cut_axes, symbolic
from netwright.backends.cim.mapping.facts import Facts
from netwright.backends.cim.mapping.floor import Floor
from netwright.backends.cim.mapping.lessons import Memories
from netwright.backends.cim.mapping.placing import Placed, Placer
from netwright.backends.cim.mapping.regions import Piece
from netwright.backends.cim.mapping.stages import Product, Rescale, Stage, cut_axis
from netwright.backends.cim.mapping.tasks import ROOM_SHARE, Make, Part, Task, bytes_of
from netwright.backends.cim.program.access import cut_alike, window_box
from netwright.backends.cim.program.fractions import denominator_of_parts
from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.model import (
    HOST,
    Accumulate,
    Mvm,
    Reach,
    Requantize,
    Scaling,
    Tensor,
    Unit,
    Vector,
    Window,
    Work,
    Write,
)


@dataclass
class Plan:
    """What has been decided so far.

    Attributes:
        facts: of tensors; partial sums are added.
        tasks: in an order in which everything is made before it is read.
        pieces: regions in the order of their numbers.
        scalings: of sums.
        notes: for the user.
    """

    facts: Facts
    tasks: list[Task] = field(default_factory=list[Task])
    pieces: list[Piece] = field(default_factory=list[Piece])
    scalings: list[Scaling] = field(default_factory=list[Scaling])
    notes: list[str] = field(default_factory=list[str])


class Planner:
    """Places stages in order.

    Args:
        arch: the chip.
        facts: of tensors.
        placer: gives matrices their arrays.
        floor: the chip while it fills.
        time_ns: that a region should take at most on one tile: more are cut, where they can be.
        memory: what earlier attempts showed about regions and memories.
    """

    def __init__(self, arch: Arch, facts: Facts, placer: Placer, floor: Floor, time_ns: float, memory: Memories) -> None:
        self.plan = Plan(facts)
        self._arch = arch
        self._placer = placer
        self._floor = floor
        self._time_ns = time_ns
        self._memory = memory
        self._homes: dict[str, list[int]] = {}
        self._made: dict[str, list[tuple[int, Box]]] = {}

    def add(self, stage: Stage) -> None:
        """Place one stage, behind those that it reads."""
        if isinstance(stage, Product):
            self._product(stage)
        elif isinstance(stage, Rescale):
            self._alone(stage)
        else:
            self._piece(stage)

    def _tensor(self, name: str) -> Tensor:
        return self.plan.facts.tensors[name]

    def _task(self, tile: int, given: tuple[Part, ...], made: tuple[Part, ...], make: Make, layer: str, keeps: tuple[int, ...]) -> None:
        rows = keeps if all(self._tensor(part.tensor).stream >= 0 for part in made) else ()
        self.plan.tasks.append(Task(tile, given, made, make, layer, rows, self._placer.phase))
        for part in made:
            self._made.setdefault(part.tensor, []).append((tile, part.box))
            homes = self._homes.setdefault(part.tensor, [])
            if tile not in homes and tile != HOST:
                homes.append(tile)

    # ---- products --------------------------------------------------------------------------------------------------

    def _product(self, one: Product) -> None:
        if one.lead is not None:
            self._written(one, one.lead)
            return
        placed = self._placer.place(one, self._homes.get(one.source, ()))
        axis = cut_axis(one)
        scaling = self._scaling(one.rescale)
        for copy, span in enumerate(_shares(one, axis, len(placed.units))):
            box = set_axis(whole(one.shape), axis, span) if axis >= 0 else whole(one.shape)
            for columns, units in zip(placed.pattern.columns, placed.units[copy], strict=True):
                part = set_axis(box, len(box) - 1, columns)
                tile = self._sums(one, placed, units, part)
                if one.rescale is not None:
                    self._requantize(one.rescale, scaling, part, tile)

    def _written(self, one: Product, lead: tuple[int, ...]) -> None:
        """A product with computed weights: for each place of their leading axes, arrays are written and then multiply its vectors."""
        matrix, scaling = self._placer.announce(one), self._scaling(one.rescale)
        near = [*self._homes.get(one.weight, ()), *self._homes.get(one.source, ())]
        for place in product(*map(range, lead)):
            at = tuple((index, index + 1) for index in place)
            placed = self._placer.place_written(matrix, one, near)
            box = (*at, *whole(one.shape)[len(lead) :])
            for columns, units in zip(placed.pattern.columns, placed.units[0], strict=True):
                for number in units:
                    self._write(one, number, at)
                part = set_axis(box, len(box) - 1, columns)
                tile = self._sums(one, placed, units, part)
                if one.rescale is not None:
                    self._requantize(one.rescale, scaling, part, tile)

    def _write(self, one: Product, number: int, at: Box) -> None:
        unit = self._placer.units[number]
        box = (*at, unit.rows, unit.columns)
        self._task(unit.tile, (Part(one.weight, box),), (), lambda s, _: Write(number, s[0], box, one.layer), one.layer, (0,))
        self.plan.tasks[-1] = replace(self.plan.tasks[-1], unit=number, phase=self._placer.phase_of(number))

    def _sums(self, one: Product, placed: Placed, units: Sequence[int], box: Box) -> int:
        """Products of the units of one range of J, added up in a tree; the tile of the sum."""
        parts: list[tuple[int, str]] = []
        over = denominator_of_parts(one.values.shape[0], one.coding) if len(units) > 1 else 1
        for place, number in enumerate(units):
            unit = self._placer.units[number]
            name = one.sums if len(units) == 1 else self._partial(one.sums, f"k{place}", over)
            self._mvm(one, number, unit, Part(name, box))
            parts.append((unit.tile, name))
        level = 0
        while len(parts) > 1:
            merged: list[tuple[int, str]] = []
            last = over if len(parts) == 2 else 1
            for place in range(0, len(parts) - 1, 2):
                (tile, first), (_, second) = parts[place : place + 2]
                name = one.sums if len(parts) == 2 else self._partial(one.sums, f"s{level}.{place // 2}", over)
                given = (Part(first, box), Part(second, box))
                made = (Part(name, box),)
                self._task(tile, given, made, lambda s, t, last=last: Accumulate(s, t[0], box, one.layer, last), one.layer, (2, 2))
                merged.append((tile, name))
            parts = merged + parts[len(parts) - len(parts) % 2 :]
            level += 1
        return parts[0][0]

    def _mvm(self, one: Product, number: int, unit: Unit, made: Part) -> None:
        source, box = self._tensor(one.source), made.box
        if one.window is None:
            along = one.lead is None and source.stream == self._tensor(made.tensor).stream  # else it waits for its arrays, too
            need, rows = (*box[:-1], unit.rows), 2 if along else 0
        else:
            need = window_box(one.window, unit, source.shape[3], box)
            rows = _window_rows(one.window) if source.stream == 1 else 0
        self._task(
            unit.tile,
            (Part(one.source, need),),
            (made,),
            lambda s, t: Mvm(number, s[0], t[0], box, one.window, one.layer),
            one.layer,
            (rows,),
        )
        self.plan.tasks[-1] = replace(self.plan.tasks[-1], unit=number, phase=max(unit.phase, self._placer.phase_of(number)))

    def _partial(self, name: str, suffix: str, over: int) -> str:
        full, whole_sums = f"{name}#{suffix}", self._tensor(name)
        dtype = whole_sums.dtype if over == 1 else "int64"
        self.plan.facts.tensors.setdefault(full, replace(whole_sums, name=full, dtype=dtype))
        return full

    # ---- sums to bytes ---------------------------------------------------------------------------------------------

    def _scaling(self, one: Rescale | None) -> int:
        if one is not None:
            self.plan.scalings.append(one.scaling)
        return len(self.plan.scalings) - 1

    def _requantize(self, one: Rescale, scaling: int, box: Box, tile: int) -> None:
        given, made = (Part(one.source, box),), (Part(one.target, box),)
        self._task(tile, given, made, lambda s, t: Requantize(scaling, s[0], t[0], box, one.layer), one.layer, (2,))
        self._floor.load(tile, vector_ns(self._arch, elements=prod(stop - start for start, stop in box)), 0)

    def _alone(self, one: Rescale) -> None:
        """Sums that not one product alone makes, or that others read too: on one tile."""
        source = self._tensor(one.source)
        ns = vector_ns(self._arch, elements=prod(source.shape))
        tile = self._floor.work(ns, bytes_of(source), self._homes.get(one.source, ()))
        self._requantize(one, self._scaling(one), whole(source.shape), tile)

    # ---- regions ---------------------------------------------------------------------------------------------------

    def _piece(self, one: Piece) -> None:
        if one.name in self._memory.hosted:
            one = replace(one, work=Work(), why_host=self._memory.hosted[one.name])
        number = len(self.plan.pieces)
        self.plan.pieces.append(one)
        reaches = self.plan.facts.reaches[one.name]
        streams = len(one.inputs) == 1 and not reaches[0].whole
        shape = self._tensor(one.outputs[0]).shape
        work = one.work
        ns = vector_ns(self._arch, elements=work.elements, macs=work.macs, special=work.special, moved=work.moved)
        amount = sum(bytes_of(self._tensor(name)) for name in (*one.inputs, *one.outputs))
        wanted = max(ns / self._time_ns, 0.0 if streams else ROOM_SHARE * amount / self._arch.tile.memory.bytes)
        places, axis = self._shards(one, int(-(-wanted // 1)))
        room = self._arch.tile.memory.bytes
        if not streams and not one.why_host and amount // len(places) > room:
            why = f"its inputs and outputs take {amount // len(places):,} bytes and a tile of {self._arch.name} has {room:,}"
            one = self.plan.pieces[number] = replace(one, work=Work(), why_host=why)
        if len(places) > 1:
            symbolic(one, self.plan.facts.tensors, axis)
        avoid = set(self._memory.avoided.get(one.name, ()))
        for home, box in places:
            given = tuple(Part(name, cut_alike(shape, box, self._tensor(name).shape)) for name in one.inputs)
            made = tuple(Part(name, cut_alike(shape, box, self._tensor(name).shape)) for name in one.outputs)
            held = self._rows_held(one, reaches[0]) // len(places) if streams else amount // len(places)
            near, apart = self._around(given)
            tile = (
                HOST
                if one.why_host
                else self._floor.work(
                    ns / len(places), held, near if home is None else [home, *near], avoid | apart, self._kept(given, streams=streams)
                )
            )
            avoid |= {tile} if tile != HOST and len(avoid) + 1 < self._arch.network.tiles else set()
            keeps = tuple(reach.last - reach.first + 1 + reach.stride if streams else 0 for reach in reaches)
            self._task(tile, given, made, lambda s, t, box=box: Vector(number, s, t, box, one.name), one.name, keeps)
            self.plan.tasks[-1] = replace(self.plan.tasks[-1], piece=one.name)

    def _rows_held(self, one: Piece, reach: Reach) -> int:
        """Bytes of the rows that a region keeps that goes along row by row: those that one of its own needs, and two of its own."""
        rows = [(name, reach.last - reach.first + 1 + reach.stride) for name in one.inputs] + [(name, 2) for name in one.outputs]
        tensors = [(self._tensor(name), kept) for name, kept in rows]
        return sum(bytes_of(tensor) * min(1, kept / tensor.shape[tensor.stream]) for tensor, kept in tensors).__ceil__()

    def _kept(self, given: tuple[Part, ...], *, streams: bool) -> dict[int, int]:
        """Bytes by tile of rows that are made there and could else be forgotten: who reads all of them there needs them kept."""
        found: dict[int, int] = {}
        for part in given if not streams else ():
            tensor = self._tensor(part.tensor)
            for tile, box in self._made.get(part.tensor, ()) if tensor.stream >= 0 else ():
                if tile != HOST:
                    found[tile] = found.get(tile, 0) + volume(box) * bytes_of(tensor) // prod(tensor.shape)
        return found

    def _around(self, given: tuple[Part, ...]) -> tuple[list[int], set[int]]:
        """The tiles that make what some parts hold, and those that make only other parts of the same tensors.

        A tile keeps one buffer for a tensor: on the latter it would have to hold everything in between.
        """
        near: list[int] = []
        others: set[int] = set()
        for part in given:
            for tile, box in self._made.get(part.tensor, ()):
                if meet(box, part.box) is not None:
                    near.append(tile)
                else:
                    others.add(tile)
        apart = others.difference(near)
        return near, apart if len(apart) < self._arch.network.tiles // 2 else set()

    def _shards(self, one: Piece, count: int) -> tuple[list[tuple[int | None, Box]], int]:
        """A region's parts, with the tile that makes most of what each reads, and the axis that they are cut along.

        As its largest input was made, where that is fine enough; else into as many parts as are wanted, or can be.
        """
        shape = self._tensor(one.outputs[0]).shape
        axes = cut_axes(one, self.plan.facts.tensors)
        count = min(count, self._arch.network.tiles)
        largest = max(one.inputs, key=lambda name: bytes_of(self._tensor(name)), default="")
        made = self._made.get(largest, [])
        for axis in axes:
            own = axis - len(shape) + len(self._tensor(largest).shape)
            found = {box[own]: tile for tile, box in made} if own >= 0 and self._tensor(largest).shape[own] == shape[axis] else {}
            if len(found) > 1 and len(found) >= count and sum(stop - start for start, stop in found) == shape[axis]:
                return [(tile, set_axis(whole(shape), axis, span)) for span, tile in sorted(found.items())], axis
        if not axes or count < 2:
            return [(None, whole(shape))], 0
        axis = next((axis for axis in axes if shape[axis] >= count), max(axes, key=lambda axis: shape[axis]))
        step = -(-shape[axis] // min(count, shape[axis]))
        return [(None, set_axis(whole(shape), axis, span)) for span in spans(shape[axis], step)], axis


def _shares(one: Product, axis: int, copies: int) -> list[tuple[int, int]]:
    """What each copy computes, along the axis that they share out."""
    if axis < 0:
        return [(0, 1)]
    extent = one.shape[axis]
    return list(spans(extent, -(-extent // min(copies, extent))))


def _window_rows(window: Window) -> int:
    return (window.kernel[0] - 1) * window.dilations[0] + 1 + window.strides[0]
