"""`.nwcim` files.

    0   magic, 8 bytes          EE 'n' 'w' 'c' 'i' 'm' CR LF: text tools and transfers that change line ends are noticed
    8   version, u16; 0, u16; parts, u32
    16  length of the file, u64
    24  SHA-256 of everything from byte 56 on, 32 bytes
    56  parts' table: for each its stored length u64, raw length u64, packing u8 (0 as it is, 1 zlib), 7 bytes of 0
    …   parts, one after the other: the first is the program as JSON (its blobs by number), the others are the blobs

All numbers are little-endian. A blob of an array begins with its element type and shape, in the JSON's list of blobs. Nothing is
allocated on a file's word: a part's raw length is at most `RATIO` times what the file really holds of it.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import cast

import numpy as np

from netwright.backends.cim.program.model import ChipProgram
from netwright.backends.cim.program.plain import Blob, Plain
from netwright.backends.cim.program.records import VERSION, from_plain, to_plain
from netwright.backends.cim.program.verify import verify
from netwright.ir.errors import ModelFileError, NetwrightError
from netwright.ir.files import write_bytes

MAGIC = b"\xeenwcim\r\n"
RATIO = 64
"""Parts that pack better than this are stored as they are."""
_HEAD = struct.Struct("<8sHHIQ32s")
_PART = struct.Struct("<QQB7x")
_DTYPES = ("int8", "int32", "float32")
_WORTH_PACKING = 64
"""Shorter parts are stored as they are."""


def save(chip: ChipProgram, path: str | Path) -> Path:
    """Write a program, beside its place and then renamed. The same program gives the same bytes.

    Raises:
        NetwrightError: the file cannot be written.
    """
    write_bytes(path, to_bytes(chip))
    return Path(path)


def load(path: str | Path) -> ChipProgram:
    """Read a program and hold that it is sound.

    Raises:
        ModelFileError: the file is missing, damaged, hostile or of another format.
        VerifyError: the program in it breaks a rule.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ModelFileError(f"The file cannot be read: {error}.", place=str(path), remedy="Name a .nwcim file.") from error
    return from_bytes(data, place=str(path))


def is_chip_file(path: str | Path) -> bool:
    """True for a file that begins as a `.nwcim` does, or is named so."""
    place = Path(path)
    if place.suffix.lower() == ".nwcim":
        return True
    try:
        with place.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def to_bytes(chip: ChipProgram) -> bytes:
    """A program's file."""
    return pack(*to_plain(chip))


def pack(plain: dict[str, Plain], blobs: Sequence[Blob]) -> bytes:
    """The file of a program's plain data and blobs (`records.to_plain`)."""
    plain = {**plain, "blobs": [_label(blob) for blob in blobs]}
    raw = [json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(), *map(_raw, blobs)]
    table: list[bytes] = []
    parts: list[bytes] = []
    for one in raw:
        packed = zlib.compress(one, 6) if len(one) >= _WORTH_PACKING else one
        worth = len(packed) < 0.95 * len(one) and len(one) <= RATIO * len(packed)
        parts.append(packed if worth else one)
        table.append(_PART.pack(len(parts[-1]), len(one), int(worth)))
    body = b"".join((*table, *parts))
    return _HEAD.pack(MAGIC, VERSION, 0, len(raw), _HEAD.size + len(body), hashlib.sha256(body).digest()) + body


def from_bytes(data: bytes, *, place: str = "program") -> ChipProgram:
    """The program of a file's bytes, sound.

    Raises:
        ModelFileError, VerifyError: see `load`.
    """
    parts = _parts(memoryview(data), place)
    head = _json(parts[0], place)
    labels = head.pop("blobs", None)
    blobs = [_blob(label, part, place) for label, part in zip(_labels(labels, len(parts) - 1, place), parts[1:], strict=True)]
    try:
        chip = from_plain(head, blobs, place=place)
    except RecursionError as error:
        raise _fault(place, "The program is nested too deeply.") from error
    try:
        verify(chip)
    except NetwrightError as error:
        error.place = f"{place}, {error.place}" if error.place else place
        raise
    return chip


def _parts(data: memoryview, place: str) -> list[bytes]:
    if len(data) < _HEAD.size or bytes(data[: len(MAGIC)]) != MAGIC:
        raise ModelFileError("This is not a .nwcim file.", place=place, remedy="Name a file that `netwright compile --target cim:…` wrote.")
    _, version, zero, count, length, digest = cast("tuple[bytes, int, int, int, int, bytes]", _HEAD.unpack_from(data))
    if version != VERSION:
        raise ModelFileError(
            f"The file is of version {version}; this netwright reads {VERSION}.", place=place, remedy="Compile the model again."
        )
    body = data[_HEAD.size :]
    if length != len(data) or zero or count < 1 or count * _PART.size > len(body):
        raise _fault(place, f"The file claims {length:,} bytes in {count:,} parts, and has {len(data):,} bytes.")
    if hashlib.sha256(body).digest() != digest:
        raise _fault(place, "The file's checksum is wrong.")
    start = count * _PART.size
    found: list[bytes] = []
    for number in range(count):
        stored, raw, packing = cast("tuple[int, int, int]", _PART.unpack_from(body, number * _PART.size))
        if stored > len(body) - start or packing > 1 or raw > RATIO * stored or (not packing and raw != stored):
            raise _fault(place, f"Part {number} claims {stored:,} bytes ({raw:,} unpacked) that are not there.")
        found.append(_unpacked(body[start : start + stored], raw, packing, number, place))
        start += stored
    if start != len(body):
        raise _fault(place, f"{len(body) - start:,} bytes belong to no part.")
    return found


def _unpacked(stored: memoryview, raw: int, packing: int, number: int, place: str) -> bytes:
    if not packing:
        return bytes(stored)
    unpacker = zlib.decompressobj()
    try:
        found = unpacker.decompress(stored, raw + 1)
    except zlib.error as error:
        raise _fault(place, f"Part {number} cannot be unpacked: {error}.") from error
    if len(found) != raw or not unpacker.eof or unpacker.unused_data:
        raise _fault(place, f"Part {number} does not unpack to {raw:,} bytes.")
    return found


def _json(part: bytes, place: str) -> dict[str, object]:
    try:
        found: object = json.loads(part.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _fault(place, f"The program is no JSON: {error}.") from error
    if not isinstance(found, dict):
        raise _fault(place, "The program is no JSON object.")
    return cast("dict[str, object]", found)


def _label(blob: Blob) -> Plain:
    return {"bytes": len(blob)} if isinstance(blob, bytes) else {"dtype": blob.dtype.name, "shape": list(blob.shape)}


def _raw(blob: Blob) -> bytes:
    if isinstance(blob, bytes):
        return blob
    if blob.dtype.name not in _DTYPES:
        raise TypeError(f"arrays of {blob.dtype} have no place in a .nwcim file")
    return np.ascontiguousarray(blob, blob.dtype.newbyteorder("<")).tobytes()


def _labels(labels: object, count: int, place: str) -> Sequence[dict[str, object]]:
    if not isinstance(labels, list) or len(cast("list[object]", labels)) != count:
        raise _fault(place, f"The program does not describe its {count} blobs.")
    found = [cast("dict[str, object]", one) if isinstance(one, dict) else {} for one in cast("list[object]", labels)]
    return found


def _blob(label: dict[str, object], part: bytes, place: str) -> Blob:
    if label == {"bytes": len(part)}:
        return part
    dtype, shape = label.get("dtype"), label.get("shape")
    sound = label.keys() == {"dtype", "shape"} and dtype in _DTYPES and isinstance(shape, list)
    sizes = cast("list[object]", shape) if sound else []
    if not sound or len(sizes) > 8 or any(type(size) is not int or not 0 <= size < 2**31 for size in sizes):
        raise _fault(place, "A blob is no array that a program has.")
    whole = np.dtype(cast("str", dtype)).newbyteorder("<")
    dims = cast("list[int]", sizes)
    if prod(dims) * whole.itemsize != len(part) or prod(max(1, size) for size in dims) >= 2**40:
        raise _fault(place, f"An array of {whole.name} {dims} does not have {len(part):,} bytes.")
    return np.frombuffer(part, whole).reshape(dims).astype(whole.newbyteorder("="), copy=False)


def _fault(place: str, message: str) -> ModelFileError:
    return ModelFileError(message, place=place, remedy="The file is damaged: copy it again, or compile the model again.")
