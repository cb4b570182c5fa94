"""Room for several samples: memory that is left over lets the next one begin long before this one is over.

A buffer that a sample needs for longer than it is to the next sample makes that one wait, and so do two buffers at one address where it
takes longer from the first use of the one to the last of the other. So for a **pace**, a time from one sample to the next, it is known what
a tile's memory must hold: a buffer as often as there are samples that need it at once, and at one address only what follows each other
closely. Each tile takes the quickest pace that it has the memory for; tiles on which buffers share addresses, the slowest of theirs: the
others would wait for it anyway, and what follows each other less closely at one address waits less within a sample.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from netwright.backends.cim.mapping.memory import Turn
from netwright.backends.cim.mapping.rings import padded
from netwright.backends.cim.program.model import HOST, Buffer, ChipProgram, Instruction, Reload, Tensor
from netwright.backends.cim.schedule.lives import Life, Lives, lives

STEP = 1.1
"""From one pace that is tried to the next."""
SLOWER = 1.25
"""Samples that wait for each other's units and links need their buffers so much longer than one alone, about."""


def with_copies(chip: ChipProgram, order: Iterable[tuple[int, Instruction]], turns: Mapping[int, Turn]) -> ChipProgram:
    """The same program with other addresses, and copies where memory is left: instructions and values are the same.

    Nothing is done where layers run one at a time, or arrays are written anew from outer memory: samples do not overlap then.

    Args:
        chip: the program, each buffer there once.
        order: its instructions and their tiles: whoever makes something before those who read it.
        turns: of buffers on tiles that do not hold all theirs side by side.
    """
    if not chip.options.pipeline or any(isinstance(one, Reload) for own in chip.tiles.values() for one in own):
        return chip
    found = lives(chip, order)
    if found.busiest_ns <= 0.0:
        return chip
    held: dict[int, list[int]] = defaultdict(list)
    for number, buffer in enumerate(chip.buffers):
        if buffer.tile != HOST and number in found.lives:
            held[buffer.tile].append(number)
    tiles = [_Tile(chip.buffers, numbers, found.lives, turns, chip.arch.tile.memory.bytes) for numbers in held.values()]
    paces = [_pace(tile, found) for tile in tiles]
    slowest = max((pace for tile, pace in zip(tiles, paces, strict=True) if tile.shares), default=0.0)
    buffers = list(chip.buffers)
    for tile, pace in zip(tiles, paces, strict=True):
        for number, (address, copies) in (tile.places(slowest if tile.shares else pace) or {}).items():
            one = buffers[number]
            buffers[number] = replace(one, address=address, bytes=padded(one.bytes) if copies > 1 else one.bytes, copies=copies)
    moved = {(one.tile, one.tensor): one.address - was.address for one, was in zip(buffers, chip.buffers, strict=True)}
    tensors = {name: _moved(tensor, moved) for name, tensor in chip.tensors.items()}
    return replace(chip, buffers=tuple(buffers), tensors=tensors)


class _Tile:
    """A tile's buffers.

    Args:
        buffers: all there are.
        numbers: of those on the tile.
        lives: in time.
        turns: in order; none for tiles that hold all side by side.
        room: bytes.
    """

    def __init__(
        self, buffers: Sequence[Buffer], numbers: Sequence[int], lives: Mapping[int, Life], turns: Mapping[int, Turn], room: int
    ) -> None:
        self.shares = all(number in turns for number in numbers)
        self._numbers, self._room = numbers, room
        self._size = np.asarray([padded(buffers[number].bytes) for number in numbers], dtype=np.int64)
        self._held = np.asarray([0.0 if buffers[number].ring else lives[number].held_ns for number in numbers])
        self._first = np.asarray([lives[number].first_ns for number in numbers])
        self._over = np.asarray([lives[number].over_ns for number in numbers])
        self._turns = np.asarray([turns.get(number, (0, 0)) for number in numbers], dtype=np.int64)

    def places(self, pace: float) -> dict[int, tuple[int, int]] | None:
        """Address and copies of each buffer for a time between samples; None where memory is too small. Rings are there once."""
        copies = np.maximum(np.ceil(SLOWER * self._held / pace), 1).astype(np.int64)
        sizes = self._size * copies
        starts: np.ndarray | None = None
        if int(sizes.sum()) <= self._room:
            starts = np.cumsum(sizes) - sizes
        elif self.shares:
            starts = self._share(sizes, copies, pace, waits=False)
            starts = self._share(sizes, copies, pace, waits=True) if starts is None else starts
        return None if starts is None else dict(zip(self._numbers, zip(starts.tolist(), copies.tolist(), strict=True), strict=True))

    def _share(self, sizes: np.ndarray, copies: np.ndarray, pace: float, *, waits: bool) -> np.ndarray | None:
        """The largest first, each at the lowest address that nobody has who is in its way.

        Args:
            sizes: bytes of all copies.
            copies: of each; what has several shares its addresses with nobody.
            pace: from one sample to the next.
            waits: a buffer may have the address of another that is in use still when this one is made first, about: it waits then.
        """
        starts = np.zeros(len(sizes), dtype=np.int64)
        order = np.argsort(-sizes, kind="stable")
        for position, place in enumerate(order.tolist()):
            others = order[:position]
            earlier = self._turns[others, 1] < self._turns[place, 0]
            later = self._turns[place, 1] < self._turns[others, 0]
            if not waits:
                earlier &= self._over[others] <= self._first[place]
                later &= self._over[place] <= self._first[others]
            together = np.maximum(self._over[others], self._over[place]) - np.minimum(self._first[others], self._first[place])
            free = (earlier | later) & (together * SLOWER <= pace) & (copies[others] == 1) & (copies[place] == 1)
            taken = others[~free]
            start = 0
            for low, high in sorted(zip(starts[taken].tolist(), (starts[taken] + sizes[taken]).tolist(), strict=True)):
                if start + sizes[place] <= low:
                    break
                start = max(start, high)
            if start + int(sizes[place]) > self._room:
                return None
            starts[place] = start
        return starts


def _pace(tile: _Tile, found: Lives) -> float:
    """The quickest that a tile has the memory for, up to where samples do not overlap."""
    pace = found.busiest_ns
    while pace < SLOWER * found.latency_ns and tile.places(pace) is None:
        pace *= STEP
    return pace


def _moved(tensor: Tensor, moved: Mapping[tuple[int, str], int]) -> Tensor:
    """Its layout where its buffers are now."""
    if tensor.layout is None:
        return tensor
    layout = tensor.layout
    bases = tuple(base + moved[tile, tensor.name] for tile, base in zip(layout.tiles, layout.bases, strict=True))
    return replace(tensor, layout=replace(layout, bases=bases))
