"""Whether a tile's memory holds what it must: buffers large enough for their boxes, and none over another that is still needed.

A tile follows its list in order, but instructions overlap, row by row, and buffers live as long as anybody works on them:

- from the first instruction of the list that touches them to the last;
- and, since those that make and read the rows of a **ring** wait for each other and so are at work together (with whoever sends rows to
  a ring on another tile), as long as all of these.

Two buffers of a tile may share addresses where one's life ends, in the list, before the other's begins; a buffer with room for several
samples shares its addresses with nobody, since those of other samples live at any time. More the format cannot know:
how far instructions really overlap is the schedule's, which makes an instruction wait for the memory that it writes to until the buffers
there before are done; and of the next sample it is held, as of instructions, that it comes after this one.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable
from heapq import heappop, heappush

import onnx_ir

from netwright.backends.cim.program.access import extents, reads, volume, writes
from netwright.backends.cim.program.model import HOST, Buffer, ChipProgram, Instruction, Receive, Send
from netwright.ir.errors import VerifyError

Life = tuple[int, int]
"""The first and the last instruction of a tile's list."""


def item_size(dtype: str) -> int:
    """Bytes of an element; those of fewer than 8 bits take one each, as in the simulator."""
    return max(1, int(onnx_ir.DataType[_ONNX.get(dtype, dtype.upper())].itemsize))


_ONNX = {"float32": "FLOAT", "float64": "DOUBLE"}


def needed(chip: ChipProgram, buffer: Buffer) -> int:
    """Bytes that a buffer takes: of its box, or of as many of its rows as its ring keeps."""
    tensor = chip.tensors[buffer.tensor]
    size = volume(buffer.box) * item_size(tensor.dtype)
    rows = extents(buffer.box)[tensor.stream] if tensor.stream >= 0 else 1
    return size // max(rows, 1) * min(buffer.ring, rows) if buffer.ring else size


def check_memory(chip: ChipProgram) -> None:
    """Hold that buffers are as large as what they keep and do not overlap while they live. n log n in buffers of a tile.

    Raises:
        VerifyError: it is not so.
    """
    for number, buffer in enumerate(chip.buffers):
        if buffer.tile == HOST:
            continue
        place = f"buffer {number}"
        _hold(not buffer.ring or chip.tensors[buffer.tensor].stream >= 0, place, f"A ring of {buffer.tensor}, which is not made in rows.")
        wanted = needed(chip, buffer)
        _hold(wanted <= buffer.bytes, place, f"It has {buffer.bytes:,} bytes; what it keeps of {buffer.tensor} takes {wanted:,}.")
    by_tile: dict[int, list[tuple[Life, int]]] = defaultdict(list)
    for number, life in _lives(chip).items():
        one = chip.buffers[number]
        if one.bytes:
            by_tile[one.tile].append(((-1, len(chip.tiles[one.tile])) if one.copies > 1 else life, number))
    for own in by_tile.values():
        _apart(chip, sorted(own))


def _apart(chip: ChipProgram, lives: Iterable[tuple[Life, int]]) -> None:
    """Those alive at once, in the order of their addresses: neighbours must not overlap."""
    alive: list[tuple[int, int]] = []
    ends: list[tuple[int, int]] = []
    for (first, last), number in lives:
        while ends and ends[0][0] < first:
            gone = heappop(ends)[1]
            del alive[bisect_left(alive, (chip.buffers[gone].address, gone))]
        own = chip.buffers[number]
        place = bisect_left(alive, (own.address, number))
        for _, other in alive[max(place - 1, 0) : place + 1]:
            that = chip.buffers[other]
            over = own.address < that.address + that.room and that.address < own.address + own.room
            where = f"Bytes from {max(own.address, that.address)} on tile {own.tile} are its and buffer {other}'s"
            _hold(not over, f"buffer {number} (%{own.tensor})", f"{where} (%{that.tensor}), which is needed at the same time.")
        insort(alive, (own.address, number))
        heappush(ends, (last, number))


def _lives(chip: ChipProgram) -> dict[int, Life]:
    """From when to when each buffer of a tile is needed."""
    places = [(tile, index, one) for tile, own in chip.tiles.items() for index, one in enumerate(own)]
    touched = [_touched(chip, one) for _, _, one in places]
    parent = list(range(len(places)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    first: dict[int, int] = {}
    senders = {one.channel: place for place, (_, _, one) in enumerate(places) if isinstance(one, Send)}
    for place, (_, _, one) in enumerate(places):
        for buffer in touched[place]:
            if chip.buffers[buffer].ring:
                parent[root(place)] = root(first.setdefault(buffer, place))
                if isinstance(one, Receive) and one.channel in senders:
                    parent[root(senders[one.channel])] = root(place)
    work: dict[tuple[int, int], Life] = {}
    for place, (tile, index, _) in enumerate(places):
        key = (root(place), tile)
        work[key] = (work[key][0], index) if key in work else (index, index)
    lives: dict[int, Life] = {}
    for place, (tile, _, _) in enumerate(places):
        start, stop = work[root(place), tile]
        for buffer in touched[place]:
            known = lives.get(buffer, (start, stop))
            lives[buffer] = (min(known[0], start), max(known[1], stop))
    return lives


def _touched(chip: ChipProgram, one: Instruction) -> list[int]:
    """Buffers of the instruction's tile."""
    return [buffer for buffer, _ in (*reads(chip, one), *writes(chip, one)) if chip.buffers[buffer].tile != HOST]


def _hold(holds: bool, place: str, message: str) -> None:
    if not holds:
        raise VerifyError(message, place=place, remedy="The program is damaged, or the mapping is wrong: compile the model again.")
