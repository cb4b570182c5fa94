"""A program's text: for reading, for comparing, and, with the data in it, for writing by hand.

    nwcim 2
    program name="…" arch={…} options={…} notes=[…]
    input name="x" dtype="FLOAT" shape=["batch", 3, 32, 32]
    tensor name="conv1" dtype="uint8" shape=[1, 32, 32, 16] stream=1 batch_axis=0 layout={…}
    buffer 0: tile=3 tensor="conv1" box=[0:1, 0:32, 0:32, 0:16] address=0 bytes=16384
    unit 0: matrix=0 rows=[0, 144] columns=[0, 16] tile=3 first_array=0 arrays=2
    tile 3:
      0 mvm unit=0 source=4 target=5 box=[0:1, 0:32, 0:32, 0:16] window={…} layer="conv1"  # x -> conv1/sums
    blob 0: dtype="int8" shape=[144, 16] sha256="…" base64="…"

Fields left out are at their defaults; what follows a # is for people.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from math import prod
from typing import cast

import numpy as np

from netwright.backends.cim.program.access import reads, writes
from netwright.backends.cim.program.model import HOST, ChipProgram, Instruction
from netwright.backends.cim.program.plain import Blob, Plain
from netwright.backends.cim.program.records import VERSION, from_plain, to_plain
from netwright.backends.cim.program.syntax import read_record, write_record
from netwright.backends.cim.program.verify import verify
from netwright.ir.errors import ModelFileError

_UNNUMBERED = {"input": "inputs", "output": "outputs", "tensor": "tensors"}
_NUMBERED = {"buffer": "buffers", "matrix": "matrices", "unit": "units", "region": "regions", "scaling": "scalings"}
_DTYPES = ("int8", "int32", "float32")


def disassemble(chip: ChipProgram, *, data: bool = False) -> str:
    """The text of a program.

    Args:
        chip: the program.
        data: with weights, scalings and regions' models, as base64: the text then assembles by itself.
    """
    return "\n".join(_lines(chip, data=data)) + "\n"


def assemble(text: str, *, data_of: ChipProgram | None = None, place: str = "text") -> ChipProgram:
    """The program of a text, sound.

    Args:
        text: what `disassemble` wrote, edited or not.
        data_of: a program that has the data which the text leaves out; told by their SHA-256.
        place: for errors.

    Raises:
        ModelFileError: a line cannot be read, or data is missing.
        VerifyError: the program breaks a rule.
    """
    kept = {_key(_blob_fields(blob, data=False)): blob for blob in to_plain(data_of)[1]} if data_of is not None else {}
    plain, blobs = _Assembler(place, kept).read(text)
    chip = from_plain(plain, blobs, place=place)
    verify(chip)
    return chip


def _lines(chip: ChipProgram, *, data: bool) -> Iterator[str]:
    plain, blobs = to_plain(chip)
    yield f"nwcim {VERSION}"
    yield f"program {write_record({name: plain[name] for name in ('name', 'arch', 'options', 'notes')})}"
    for word, name in _UNNUMBERED.items():
        yield from (f"{word} {write_record(one)}" for one in cast("list[dict[str, Plain]]", plain[name]))
    for word, name in _NUMBERED.items():
        yield from (f"{word} {n}: {write_record(one)}" for n, one in enumerate(cast("list[dict[str, Plain]]", plain[name])))
    for tile, own in chip.tiles.items():
        yield f"tile {tile}:"
        yield from _listing(chip, own, cast("dict[str, list[dict[str, Plain]]]", plain["tiles"])[str(tile)])
    if chip.host:
        yield "host:"
        yield from _listing(chip, chip.host, cast("list[dict[str, Plain]]", plain["host"]))
    for number, blob in enumerate(blobs):
        yield f"blob {number}: {write_record(_blob_fields(blob, data=data))}"


def _listing(chip: ChipProgram, own: tuple[Instruction, ...], plain: list[dict[str, Plain]]) -> Iterator[str]:
    for index, (one, fields) in enumerate(zip(own, plain, strict=True)):
        rest = {name: value for name, value in fields.items() if name != "is"}
        yield f"  {index} {fields['is']} {write_record(rest)}{_comment(chip, one)}"


def _comment(chip: ChipProgram, one: Instruction) -> str:
    touched = (reads(chip, one), writes(chip, one))
    told = [", ".join(dict.fromkeys(chip.buffers[number].tensor for number, _ in boxes)) for boxes in touched if boxes]
    return f"  # {' -> '.join(told)}".replace("\n", " ") if told else ""


def _bytes(blob: Blob) -> bytes:
    return blob if isinstance(blob, bytes) else np.ascontiguousarray(blob, blob.dtype.newbyteorder("<")).tobytes()


def _blob_fields(blob: Blob, *, data: bool) -> dict[str, Plain]:
    raw = _bytes(blob)
    fields: dict[str, Plain] = {}
    if not isinstance(blob, bytes):
        fields = {"dtype": blob.dtype.name, "shape": list(blob.shape)}
    fields["sha256"] = hashlib.sha256(raw).hexdigest()
    return {**fields, "base64": base64.b64encode(raw).decode()} if data else fields


def _key(record: dict[str, Plain]) -> str:
    """What tells blobs apart: the same bytes may be arrays of several shapes."""
    return f"{record.get('sha256')} {record.get('dtype')} {record.get('shape')}"


class _Assembler:
    """Reads a text line by line."""

    def __init__(self, place: str, kept: dict[str, Blob]) -> None:
        self._place = place
        self._kept = kept
        self._plain: dict[str, Plain] = {name: [] for name in (*_UNNUMBERED.values(), *_NUMBERED.values(), "host")}
        self._plain["tiles"] = {}
        self._blobs: list[Blob] = []
        self._tile: int | None = None

    def read(self, text: str) -> tuple[dict[str, Plain], list[Blob]]:
        """Plain data and blobs of all lines."""
        lines = text.split("\n")
        first = lines[0].split("#")[0].split()
        if first != ["nwcim", str(VERSION)]:
            older = f", this one with `nwcim {first[1][:9]}`" if len(first) == 2 and first[0] == "nwcim" else ""
            raise self._fault(1, f"A program's text begins with `nwcim {VERSION}`{older}")
        for number, line in enumerate(lines[1:], 2):
            if line.strip() and not line.lstrip().startswith("#"):
                self._line(number, line.strip())
        return self._plain, self._blobs

    def _line(self, number: int, line: str) -> None:
        word, _, rest = line.partition(" ")
        if _is_number(word):
            self._instruction(number, word, rest)
        elif word == "program":
            self._plain.update(self._record(number, rest))
        elif word in _UNNUMBERED:
            cast("list[Plain]", self._plain[_UNNUMBERED[word]]).append(self._record(number, rest))
        elif word == "host:":
            self._tile = HOST
        elif word == "tile":
            self._open(number, rest)
        else:
            self._numbered(number, word, rest)

    def _open(self, number: int, rest: str) -> None:
        name = rest.partition("#")[0].strip()
        tiles = cast("dict[str, Plain]", self._plain["tiles"])
        if not name.endswith(":") or not _is_number(name[:-1]) or name[:-1] in tiles:
            raise self._fault(number, "`tile N:` was expected, once for each")
        self._tile = int(name[:-1])
        tiles[name[:-1]] = []

    def _instruction(self, number: int, index: str, rest: str) -> None:
        kind, _, fields = rest.strip().partition(" ")
        if self._tile is None:
            raise self._fault(number, "An instruction stands before the first `tile N:`")
        tiles = cast("dict[str, list[Plain]]", self._plain["tiles"])
        own = cast("list[Plain]", self._plain["host"]) if self._tile == HOST else tiles[str(self._tile)]
        if int(index) != len(own):
            raise self._fault(number, f"Instruction {len(own)} was expected, {index[:20]} found")
        own.append({"is": kind, **self._record(number, fields)})

    def _numbered(self, number: int, word: str, rest: str) -> None:
        index, _, fields = rest.partition(":")
        count = len(self._blobs) if word == "blob" else len(cast("list[Plain]", self._plain.get(_NUMBERED.get(word, ""), [])))
        if word != "blob" and word not in _NUMBERED:
            raise self._fault(number, f"{word[:20]!r} begins no line")
        if index.strip() != str(count):
            raise self._fault(number, f"`{word} {count}:` was expected")
        record = self._record(number, fields)
        if word == "blob":
            self._blobs.append(self._blob(number, record))
        else:
            cast("list[Plain]", self._plain[_NUMBERED[word]]).append(record)

    def _blob(self, number: int, record: dict[str, Plain]) -> Blob:
        coded = record.get("base64")
        if coded is None:
            kept = self._kept.get(_key(record))
            if kept is None:
                raise self._fault(number, "The text leaves its data out: disassemble it with data, or give the program that has them")
            return kept
        try:
            raw = base64.b64decode(str(coded), validate=True)
        except (binascii.Error, ValueError) as error:
            raise self._fault(number, f"The data are no base64: {error}") from error
        if "dtype" not in record:
            return raw
        dtype, shape = record["dtype"], record.get("shape")
        sizes = [size for size in shape if type(size) is int and 0 <= size < 2**31] if isinstance(shape, list) else []
        if dtype not in _DTYPES or not isinstance(shape, list) or len(sizes) != len(shape):
            raise self._fault(number, "The data are of no type and shape that a program has")
        whole = np.dtype(str(dtype)).newbyteorder("<")
        if len(sizes) > 8 or prod(sizes) * whole.itemsize != len(raw) or prod(max(1, size) for size in sizes) >= 2**40:
            raise self._fault(number, f"{len(raw)} bytes are no {dtype} {sizes}")
        return np.frombuffer(raw, whole).reshape(sizes).astype(whole.newbyteorder("="), copy=False)

    def _record(self, number: int, text: str) -> dict[str, Plain]:
        return read_record(text, f"{self._place}, line {number}")

    def _fault(self, number: int, message: str) -> ModelFileError:
        return ModelFileError(f"{message}.", place=f"{self._place}, line {number}", remedy="See `netwright cim disasm` for the form.")


def _is_number(word: str) -> bool:
    """True of what `int` reads, and is short: digits of other scripts are no numbers here."""
    return word.isascii() and word.isdigit() and len(word) <= 9
