"""Tasks, messages and buffers made to fit into the tiles' memories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.mapping.layouts import layout_of
from netwright.backends.cim.mapping.memory import Use, addresses, uses_of
from netwright.backends.cim.mapping.tasks import Part, Task
from netwright.backends.cim.mapping.weaving import Key, Woven, weave
from netwright.backends.cim.program.model import Buffer, Tensor
from netwright.ir.errors import UnsupportedModelError


class TooLarge(UnsupportedModelError):
    """A tile's memory is too small.

    Attributes:
        tile: which.
        piece: a region that reads the largest buffer there, or fills it; empty for none.
    """

    def __init__(self, message: str, tile: int, piece: str, *, place: str, remedy: str) -> None:
        super().__init__(message, place=place, remedy=remedy)
        self.tile = tile
        self.piece = piece


@dataclass(frozen=True)
class Laid:
    """Everything with its address.

    Attributes:
        tasks: messages included, in order.
        buffers: by number.
        numbers: of the buffers, by tile and tensor.
        tensors: with their layouts.
        notes: for the user.
    """

    tasks: tuple[Task, ...]
    buffers: tuple[Buffer, ...]
    numbers: dict[Key, int]
    tensors: dict[str, Tensor]
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
    room = arch.tile.memory.bytes
    notes: list[str] = []
    uses = uses_of(woven, tensors, across=pipeline)
    found, short = addresses(woven, uses, room)
    if short and not pipeline:
        uses = uses_of(woven, tensors, across=True)
        found, short = addresses(woven, uses, room)
        notes.append("Some layers overlap in spite of pipeline=False: a tile's memory does not hold their maps whole.")
    if short:
        uses = uses_of(woven, tensors, across=True, strict=False)
        found, short = addresses(woven, uses, room)
    if short:
        raise _too_large(woven, uses, short, arch)
    buffers: list[Buffer] = []
    numbers: dict[Key, int] = {}
    for key, box in woven.boxes.items():
        numbers[key] = len(buffers)
        buffers.append(Buffer(key[0], key[1], box, found[key], uses[key].size, uses[key].ring))
    made: dict[str, Tensor] = {}
    for name, places in woven.made.items():
        first = buffers[numbers[places[0][0], name]]
        made[name] = replace(tensors[name], layout=layout_of(tensors[name], places, first.address, first.ring))
    return Laid(woven.tasks, tuple(buffers), numbers, made, tuple(notes))


def _too_large(woven: Woven, uses: Mapping[Key, Use], short: Mapping[int, int], arch: Arch) -> TooLarge:
    tile, wanted = max(short.items(), key=lambda entry: entry[1])
    order = sorted((key for key in uses if key[0] == tile), key=lambda key: (-uses[key].size, key[1]))
    touching = [woven.tasks[place] for key in order for place in (*uses[key].readers, *uses[key].writers)]
    piece = next((task.piece for task in touching if task.piece and task.tile == tile), "")
    return TooLarge(
        f"Tile {tile} needs {wanted:,} bytes of memory, {uses[order[0]].size:,} of them for %{order[0][1]}; "
        f"{arch.name} has {arch.tile.memory.bytes:,}.",
        tile,
        piece,
        place=order[0][1],
        remedy="Choose a chip with larger tile memories (tile.memory.bytes), or a smaller input.",
    )
