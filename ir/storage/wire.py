"""The protobuf wire format: fields in, fields out.

Only what `onnx.proto` needs (Protocol Buffers encoding, "Message Structure"): varint, 64-bit, length-delimited and 32-bit fields;
groups do not occur in ONNX.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeAlias

from netwright.ir.errors import ModelFileError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}


class Buffer(Protocol):
    """What can be walked: bytes, or a mapped file."""

    def __getitem__(self, index: int, /) -> int: ...

    def __len__(self) -> int: ...


Field: TypeAlias = tuple[int, int, int, int, int]
"""`(number, wire type, start of the tag, start of the payload, end)`; a varint's payload start holds its value."""


def damaged(why: str, offset: int) -> ModelFileError:
    """The error for bytes that are no protobuf message."""
    return ModelFileError(
        f"Not a sound ONNX file: {why} at byte {offset}.",
        remedy="The file is truncated, damaged or of another format; export or copy it again.",
    )


def varint(buffer: Buffer, position: int, end: int) -> tuple[int, int]:
    """The number at `position`, and the position after it."""
    result = shift = 0
    while position < end:
        byte = buffer[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
        if shift > 63:
            raise damaged("a number of more than 64 bits", position)
    raise damaged("the data ends inside a number", position)


def fields(buffer: Buffer, start: int, end: int) -> Iterator[Field]:
    """The fields of the message at `[start, end)`; nothing is copied.

    Raises:
        ModelFileError: the bytes are no message: a length beyond the end, an unknown wire type, field number 0.
    """
    position = start
    while position < end:
        at = position
        tag, position = varint(buffer, position, end)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise damaged("field number 0", at)
        if kind == BYTES:
            length, position = varint(buffer, position, end)
            if length > end - position:
                raise damaged(f"a field claims {length} bytes where {end - position} are left", at)
            yield number, kind, at, position, position + length
            position += length
        elif kind == VARINT:
            value, position = varint(buffer, position, end)
            yield number, kind, at, value, position
        elif kind in _FIXED:
            payload, position = position, position + _FIXED[kind]
            if position > end:
                raise damaged("the data ends inside a number", at)
            yield number, kind, at, payload, position
        else:
            raise damaged(f"unknown wire type {kind}", at)


def encode_varint(value: int) -> bytes:
    """A non-negative number as a varint."""
    out = bytearray()
    while value > 0x7F:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def header(number: int, length: int) -> bytes:
    """Tag and length that go before a length-delimited field's payload."""
    return encode_varint(number << 3 | BYTES) + encode_varint(length)


def text_field(number: int, text: str) -> bytes:
    """A string field, or nothing for the empty string, which is the default."""
    payload = text.encode()
    return header(number, len(payload)) + payload if payload else b""


def bytes_field(number: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return header(number, len(payload)) + payload


def number_field(number: int, value: int) -> bytes:
    """An integer field (negative numbers take ten bytes, as protobuf has it)."""
    return encode_varint(number << 3 | VARINT) + encode_varint(value & 0xFFFFFFFFFFFFFFFF)
