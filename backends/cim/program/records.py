"""A ChipProgram as plain data and blobs, and back: what its file and its text have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, cast

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.program.model import (
    Buffer,
    ChipProgram,
    Instruction,
    Matrix,
    Options,
    Region,
    Scaling,
    Tensor,
    Unit,
    Vector,
)
from netwright.backends.cim.program.plain import Blob, Plain, decode, encode, encode_member, fault
from netwright.ir.signature import Port

T = TypeVar("T")

VERSION = 2
"""Of the records that files and texts have in common; those of another version are not read."""

_LISTS = ("inputs", "outputs", "buffers", "matrices", "units", "regions", "scalings", "notes")
_FIELDS = {"name", "arch", "options", "tensors", "tiles", "host", *_LISTS}


def to_plain(chip: ChipProgram) -> tuple[dict[str, Plain], list[Blob]]:
    """Plain data of a program, and its arrays and models."""
    blobs: list[Blob] = []
    found: dict[str, Plain] = {name: encode(getattr(chip, name), blobs) for name in ("name", "arch", "options", *_LISTS)}
    found["tensors"] = [encode(one, blobs) for one in chip.tensors.values()]
    found["tiles"] = {str(tile): [encode_member(one, blobs) for one in own] for tile, own in chip.tiles.items()}
    found["host"] = [encode_member(one, blobs) for one in chip.host]
    return found, blobs


def from_plain(data: object, blobs: Sequence[Blob], *, place: str) -> ChipProgram:
    """The program that plain data stands for; its types are checked, its sense is not (see `verify`).

    Raises:
        ModelFileError: the data is no program's.
    """
    if not isinstance(data, dict) or set(cast("dict[str, object]", data)) != _FIELDS:
        raise fault(place, "The program's parts are missing or unknown.")
    given = cast("dict[str, object]", data)
    tensors = _all(Tensor, given["tensors"], f"{place}, tensors", blobs)
    named = {one.name: one for one in tensors}
    if len(named) != len(tensors):
        raise fault(f"{place}, tensors", "Two tensors have the same name.")
    host = _all(Vector, [_without_kind(one) for one in _items(given["host"], f"{place}, host")], f"{place}, host", blobs)
    return ChipProgram(
        name=cast("str", decode(str, given["name"], f"{place}, name")),
        arch=cast("Arch", decode(Arch, given["arch"], f"{place}, arch")),
        options=cast("Options", decode(Options, given["options"], f"{place}, options")),
        inputs=tuple(_all(Port, given["inputs"], f"{place}, inputs", blobs)),
        outputs=tuple(_all(Port, given["outputs"], f"{place}, outputs", blobs)),
        tensors=named,
        buffers=tuple(_all(Buffer, given["buffers"], f"{place}, buffers", blobs)),
        matrices=tuple(_all(Matrix, given["matrices"], f"{place}, matrices", blobs)),
        units=tuple(_all(Unit, given["units"], f"{place}, units", blobs)),
        regions=tuple(_all(Region, given["regions"], f"{place}, regions", blobs)),
        scalings=tuple(_all(Scaling, given["scalings"], f"{place}, scalings", blobs)),
        tiles=_tiles(given["tiles"], place, blobs),
        host=tuple(host),
        notes=tuple(_all(str, given["notes"], f"{place}, notes", blobs)),
    )


def _tiles(data: object, place: str, blobs: Sequence[Blob]) -> dict[int, tuple[Instruction, ...]]:
    if not isinstance(data, dict):
        raise fault(f"{place}, tiles", "The tiles' instructions are missing.")
    tiles: dict[int, tuple[Instruction, ...]] = {}
    for name, own in cast("dict[object, object]", data).items():
        if not isinstance(name, str) or not name.isascii() or not name.isdigit() or len(name) > 6 or int(name) in tiles:
            raise fault(f"{place}, tiles", f"{str(name)[:20]!r} is no tile's number.")
        where = f"{place}, tile {name}"
        tiles[int(name)] = tuple(
            cast("Instruction", decode(Instruction, one, f"{where}, instruction {n}", blobs)) for n, one in enumerate(_items(own, where))
        )
    return tiles


def _without_kind(data: object) -> object:
    """A host's instruction: a Vector, or not what its kind says."""
    given = cast("dict[str, object]", data) if isinstance(data, dict) else {}
    return {name: value for name, value in given.items() if name != "is"} if given.get("is") == "vector" else cast("object", data)


def _all(kind: type[T], data: object, place: str, blobs: Sequence[Blob]) -> list[T]:
    return [cast("T", decode(kind, one, f"{place}[{n}]", blobs)) for n, one in enumerate(_items(data, place))]


def _items(data: object, place: str) -> list[object]:
    if not isinstance(data, list):
        raise fault(place, "A list was expected.")
    return cast("list[object]", data)
