"""What a simulator computes, in which order: instructions one by one, or those that make parts of one tensor together.

A **slot** holds values: a tensor (a program is checked so that all buffers of a tensor hold the same values; then moving them needs no
copies), or, followed word by word, one buffer or one message.

Together go instructions that do the same to other boxes: products of copies of the same weights, shards of a region, sums by rows. The
values are the same, since each element depends on its sources only.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from netwright.backends.cim.program.access import volume, whole
from netwright.backends.cim.program.coverage import common
from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.model import (
    HOST,
    Accumulate,
    ChipProgram,
    Instruction,
    Load,
    Mvm,
    Receive,
    Requantize,
    Send,
    Store,
    Vector,
    Write,
)
from netwright.backends.cim.program.order import Place

Slot: TypeAlias = "str | int | tuple[str, int]"
"""A tensor's name; a buffer's number; or a channel, or what a unit's arrays are written with."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something to compute.

    Attributes:
        one: an instruction that says what.
        sources: slots that it reads.
        targets: slots that it writes.
        boxes: parts of the first target, each computed at once.
        places: instructions that it stands for, each with its own box.
        free: slots that nobody reads afterwards.
    """

    one: Instruction
    sources: tuple[Slot, ...]
    targets: tuple[Slot, ...]
    boxes: tuple[Box, ...]
    places: tuple[tuple[Place, Box], ...]
    free: tuple[Slot, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps.

    Attributes:
        steps: in order.
        extents: by slot, the box that it holds.
        tensors: by slot, the tensor that it is of.
        reason: why instructions are followed one by one; empty where they go together.
    """

    steps: tuple[Step, ...]
    extents: dict[Slot, Box]
    tensors: dict[Slot, str]
    reason: str = ""


def instruction(chip: ChipProgram, place: Place) -> Instruction:
    """The instruction at a place."""
    return (chip.host if place[0] == HOST else chip.tiles[place[0]])[place[1]]


def literal(chip: ChipProgram, order: Sequence[Place], reason: str = "asked for") -> Plan:
    """Each instruction by itself; every buffer and every message has values of its own."""
    extents: dict[Slot, Box] = {number: buffer.box for number, buffer in enumerate(chip.buffers)}
    tensors: dict[Slot, str] = {number: buffer.tensor for number, buffer in enumerate(chip.buffers)}
    steps: list[Step] = []
    for place in order:
        one = instruction(chip, place)
        slots = _own_slots(chip, one)
        if slots is None:
            continue
        if isinstance(one, Send):
            extents["channel", one.channel] = one.box
            tensors["channel", one.channel] = chip.buffers[one.source].tensor
        elif isinstance(one, Write):
            known = extents.get(("arrays", one.unit), one.box)
            extents["arrays", one.unit] = tuple((min(a, c), max(b, d)) for (a, b), (c, d) in zip(known, one.box, strict=True))
            tensors["arrays", one.unit] = chip.buffers[one.source].tensor
        box: Box = getattr(one, "box", ())
        steps.append(Step(one, *slots, (box,), ((place, box),)))
    return Plan(tuple(steps), extents, tensors, reason)


def together(chip: ChipProgram, order: Sequence[Place]) -> Plan:
    """Instructions that make one tensor in the same way, together; movements left out. Falls back to `literal` where that cannot be."""
    groups: dict[Hashable, _Group] = {}
    for place in order:
        one = instruction(chip, place)
        if isinstance(one, Mvm | Accumulate | Requantize | Vector):
            key, sources, targets = _key(chip, one)
            groups.setdefault(key, _Group(one, sources, targets)).places.append((place, one.box))
    made: dict[str, list[_Group]] = {}
    for group in groups.values():
        group.settle()
        for name in group.targets:
            made.setdefault(name, []).append(group)
    clash = next((name for name, own in made.items() if _overlap(own)), None)
    if clash is not None:
        return literal(chip, order, f"parts of {clash} are made in two ways")
    steps = _sorted(list(groups.values()), made)
    if steps is None:
        return literal(chip, order, "parts of a tensor depend on others of its parts")
    used = {name for step in steps for name in (*step.sources, *step.targets)}
    used |= {port.name for port in (*chip.inputs, *chip.outputs)}
    named = sorted(map(str, used))
    extents: dict[Slot, Box] = {name: whole(chip.tensors[name].shape) for name in named}
    return Plan(_freeing(steps, {port.name for port in chip.outputs}), extents, {name: name for name in named})


@dataclass(slots=True)
class _Group:
    one: Instruction
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    places: list[tuple[Place, Box]] = field(default_factory=list[tuple[Place, Box]])
    boxes: tuple[Box, ...] = ()

    def settle(self) -> None:
        """One box where all of them fill it, else each by itself."""
        boxes = list(dict.fromkeys(box for _, box in self.places))
        bound = tuple((min(box[axis][0] for box in boxes), max(box[axis][1] for box in boxes)) for axis in range(len(boxes[0])))
        self.boxes = (bound,) if _fill(boxes, bound) else tuple(boxes)


def _key(chip: ChipProgram, one: Mvm | Accumulate | Requantize | Vector) -> tuple[Hashable, tuple[str, ...], tuple[str, ...]]:
    def name(buffer: int) -> str:
        return chip.buffers[buffer].tensor

    if isinstance(one, Mvm):
        unit = chip.units[one.unit]
        written = chip.matrices[unit.matrix].source
        sources, targets = (name(one.source), written) if written else (name(one.source),), (name(one.target),)
        return ("mvm", unit.matrix, unit.rows, unit.columns, one.box[-1], one.window, sources, targets), sources, targets
    if isinstance(one, Requantize):
        sources, targets = (name(one.source),), (name(one.target),)
        return ("requantize", one.scaling, sources, targets), sources, targets
    if isinstance(one, Accumulate):
        sources, targets = tuple(map(name, one.sources)), (name(one.target),)
        return ("accumulate", one.denominator, sources, targets), sources, targets
    sources, targets = tuple(map(name, one.sources)), tuple(map(name, one.targets))
    return ("vector", one.region, sources, targets), sources, targets


def _fill(boxes: Sequence[Box], bound: Box) -> bool:
    """True where boxes, overlapping or not, fill their bound: told on the grid of all their edges."""
    if len(boxes) == 1 or sum(map(volume, boxes)) < volume(bound):
        return len(boxes) == 1
    edges = [sorted({edge for box in boxes for edge in box[axis]}) for axis in range(len(bound))]
    filled = np.zeros([max(len(own) - 1, 1) for own in edges], bool)
    for box in boxes:
        ranges = [(own.index(start), own.index(stop)) for own, (start, stop) in zip(edges, box, strict=True)]
        filled[tuple(slice(start, max(stop, start + 1)) for start, stop in ranges)] = True
    return bool(filled.all())


def _overlap(groups: Sequence[_Group]) -> bool:
    return any(
        common(one, other)
        for index, group in enumerate(groups)
        for later in groups[index + 1 :]
        for one in group.boxes
        for other in later.boxes
    )


def _sorted(groups: list[_Group], made: dict[str, list[_Group]]) -> list[Step] | None:
    """Groups after those that make their sources; None where there is no such order."""
    waits = {id(group): {id(maker) for name in group.sources for maker in made.get(name, ())} for group in groups}
    readers: dict[int, list[_Group]] = {}
    for group in groups:
        for maker in waits[id(group)]:
            readers.setdefault(maker, []).append(group)
    ready = [group for group in groups if not waits[id(group)]]
    steps: list[Step] = []
    for group in ready:  # grows while it is followed
        steps.append(Step(group.one, group.sources, group.targets, group.boxes, tuple(group.places)))
        for reader in readers.get(id(group), ()):
            waits[id(reader)].discard(id(group))
            if not waits[id(reader)]:
                ready.append(reader)
    return steps if len(steps) == len(groups) else None


def _freeing(steps: Sequence[Step], kept: Iterable[str]) -> tuple[Step, ...]:
    seen: set[Slot] = set(kept)
    found: list[Step] = []
    for step in reversed(steps):
        dead = tuple(dict.fromkeys(slot for slot in (*step.sources, *step.targets) if slot not in seen))
        seen.update(dead)
        found.append(Step(step.one, step.sources, step.targets, step.boxes, step.places, dead))
    return tuple(reversed(found))


def _own_slots(chip: ChipProgram, one: Instruction) -> tuple[tuple[Slot, ...], tuple[Slot, ...]] | None:
    if isinstance(one, Mvm) and chip.matrices[chip.units[one.unit].matrix].source:
        return (one.source, ("arrays", one.unit)), (one.target,)
    if isinstance(one, Write):
        return (one.source,), (("arrays", one.unit),)
    if isinstance(one, Load | Store | Mvm | Requantize):
        return (one.source,), (one.target,)
    if isinstance(one, Accumulate):
        return one.sources, (one.target,)
    if isinstance(one, Vector):
        return one.sources, one.targets
    if isinstance(one, Send):
        return (one.source,), (("channel", one.channel),)
    if isinstance(one, Receive):
        return (("channel", one.channel),), (one.target,)
    return None
