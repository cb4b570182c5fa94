"""Tasks, messages and buffers made to fit into the tiles' memories."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.mapping.layouts import layout_of
from netwright.backends.cim.mapping.lessons import Lesson
from netwright.backends.cim.mapping.memory import Addresses, Turn, addresses
from netwright.backends.cim.mapping.rings import Use, make_rings, uses_of
from netwright.backends.cim.mapping.tasks import Part, Task
from netwright.backends.cim.mapping.ties import Ties
from netwright.backends.cim.mapping.weaving import Key, Woven, weave
from netwright.backends.cim.program.model import Buffer, Tensor
from netwright.ir.errors import UnsupportedModelError


@dataclass(frozen=True, slots=True)
class _Rings:
    """Which rings there may be: see `rings.uses_of`.

    Attributes:
        across: between layers.
        strict: only for rows that come in one order.
        any: none where False.
        tight: those who make rows wait for those who read them.
    """

    across: bool
    strict: bool = True
    any: bool = True
    tight: bool = False


_TIGHT = _Rings(across=True, strict=False, tight=True)
_PIPELINED = (_Rings(across=True), _Rings(across=True, any=False), _Rings(across=True, strict=False), _TIGHT)
_ONE_BY_ONE = (_Rings(across=False), _Rings(across=True), _Rings(across=True, strict=False), _TIGHT)
"""What is tried, one after the other."""
_OVERLAP = "Some layers overlap in spite of pipeline=False: a tile's memory does not hold their maps whole."


class TooLarge(UnsupportedModelError):
    """Tiles' memories are too small.

    Attributes:
        lessons: for the tiles where regions could go elsewhere.
        tensors: what the tile that lacks most holds, the largest first.
    """

    def __init__(self, message: str, lessons: tuple[Lesson, ...], tensors: tuple[str, ...], *, place: str, remedy: str) -> None:
        super().__init__(message, place=place, remedy=remedy)
        self.lessons = lessons
        self.tensors = tensors


@dataclass(frozen=True)
class Laid:
    """Everything with its address.

    Attributes:
        tasks: messages included, in order.
        buffers: by number.
        numbers: of the buffers, by tile and tensor.
        tensors: with their layouts.
        turns: of buffers that share their tile's memory: see `Addresses`.
        notes: for the user.
    """

    tasks: tuple[Task, ...]
    buffers: tuple[Buffer, ...]
    numbers: dict[Key, int]
    tensors: dict[str, Tensor]
    turns: dict[int, Turn]
    notes: tuple[str, ...]


def fit(
    tasks: Sequence[Task], inputs: Sequence[Part], outputs: Sequence[Part], tensors: Mapping[str, Tensor], arch: Arch, *, pipeline: bool
) -> Laid:
    """Messages between tasks, and an address for every buffer.

    Args:
        tasks: what makes tensors, in order.
        inputs: whole tensors that the host holds from the start.
        outputs: whole tensors that the host wants.
        tensors: by name.
        arch: the chip.
        pipeline: layers overlap.

    Raises:
        TooLarge: a tile's memory is too small.
    """
    woven = weave(tasks, inputs, outputs)
    notes: tuple[str, ...] = ()
    first, *others = _PIPELINED if pipeline else _ONE_BY_ONE
    ties = cache(lambda: Ties(woven))
    uses, placed = _placed(woven, ties, tensors, arch, first)
    for rings in others:
        if not placed.short:
            break
        uses, placed = _placed(woven, ties, tensors, arch, rings)
        notes = () if pipeline else (_OVERLAP,)
    if placed.short:
        raise _too_large(woven, uses, placed.short, arch)
    buffers: list[Buffer] = []
    numbers: dict[Key, int] = {}
    for key, box in woven.boxes.items():
        numbers[key] = len(buffers)
        buffers.append(Buffer(key[0], key[1], box, placed.starts[key], uses[key].size, uses[key].ring))
    made: dict[str, Tensor] = {}
    for name, places in woven.made.items():
        held = {tile: buffers[numbers[tile, name]] for tile, _ in places}
        made[name] = replace(tensors[name], layout=layout_of(tensors[name], places, held))
    turns = {numbers[key]: turn for key, turn in placed.turns.items()}
    return Laid(placed.tasks, tuple(buffers), numbers, made, turns, notes)


def _placed(
    woven: Woven, ties: Callable[[], Ties], tensors: Mapping[str, Tensor], arch: Arch, rings: _Rings
) -> tuple[dict[Key, Use], Addresses]:
    uses = uses_of(woven, tensors, arch, across=rings.across, strict=rings.strict, tight=rings.tight)
    if rings.any:
        make_rings(uses, arch.tile.memory.bytes)
    return uses, addresses(woven, ties, uses, arch.tile.memory.bytes)


def _too_large(woven: Woven, uses: Mapping[Key, Use], short: Mapping[int, int], arch: Arch) -> TooLarge:
    room = arch.tile.memory.bytes
    largest: dict[int, list[Key]] = defaultdict(list)
    for key in sorted((key for key in uses if key[0] in short), key=lambda key: (-uses[key].size, key[1])):
        largest[key[0]].append(key)
    lessons: list[Lesson] = []
    for tile, wanted in short.items():
        places = dict.fromkeys(place for key in largest[tile] for place in (*uses[key].readers, *uses[key].writers))
        pieces = dict.fromkeys(woven.tasks[place].piece for place in places if woven.tasks[place].piece and woven.tasks[place].tile == tile)
        found = [Lesson(tile, piece, "", hopeless=True) for piece in pieces if _least(woven, uses, places, piece) > room]
        why = _wanted(tile, wanted, largest[tile][0], uses, arch)
        lessons += [replace(one, why=why) for one in found or [Lesson(tile, piece, "", hopeless=False) for piece in list(pieces)[:1]]]
    tile, wanted = max(short.items(), key=lambda entry: entry[1])
    return TooLarge(
        f"{_wanted(tile, wanted, largest[tile][0], uses, arch)}.",
        tuple(lessons),
        tuple(name for _, name in largest[tile]),
        place=largest[tile][0][1],
        remedy="Choose a chip with larger tile memories (tile.memory.bytes), or a smaller input.",
    )


def _wanted(tile: int, wanted: int, largest: Key, uses: Mapping[Key, Use], arch: Arch) -> str:
    return (
        f"Tile {tile} needs {wanted:,} bytes of memory, {uses[largest].size:,} of them for %{largest[1]}; "
        f"{arch.name} has {arch.tile.memory.bytes:,}"
    )


def _least(woven: Woven, uses: Mapping[Key, Use], places: Iterable[int], piece: str) -> int:
    """Bytes that one part of a region needs at least, with nothing else on its tile."""
    found = 0
    for place in places:
        task = woven.tasks[place]
        if task.piece == piece:
            keys = dict.fromkeys((task.tile, part.tensor) for part in (*task.reads, *task.writes))
            found = max(found, sum((uses[key].fewest or uses[key].rows) * uses[key].row_bytes for key in keys))
    return found
