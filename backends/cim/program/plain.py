"""Frozen dataclasses as plain data (numbers, texts, lists, objects) and back, by their type hints; what comes back is checked.

A dataclass is an object of its fields, those at their defaults left out; a tuple is a list; a member of a union of dataclasses is an
object with its kind under `is`; arrays and bytes go into a list of blobs, and `{"blob": n}` stands for them. Nothing is evaluated and
no name is looked up but those of the types asked for, so plain data of unknown origin can be decoded.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Literal, TypeAlias, Union, cast, get_args, get_origin, get_type_hints

import numpy as np
import onnx_ir

from netwright.ir.errors import ModelFileError

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"
Blob: TypeAlias = "np.ndarray | bytes"
_Read: TypeAlias = Callable[[object, str, Sequence[Blob]], object]

_LARGEST = 2**53
"""Integers beyond it do not survive other readers of JSON; no size, address or count of a chip comes near."""


def encode(value: object, blobs: list[Blob]) -> Plain:
    """Plain data of a value; arrays and bytes are appended to `blobs`."""
    if isinstance(value, onnx_ir.DataType):
        return value.name
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | bytes):
        blobs.append(cast("Blob", value))
        return {"blob": len(blobs) - 1}
    if isinstance(value, tuple):
        return [encode(item, blobs) for item in cast("tuple[object, ...]", value)]
    return {name: encode(found, blobs) for name, found, default in _fields_of(value) if not _same(found, default)}


def encode_member(value: object, blobs: list[Blob]) -> dict[str, Plain]:
    """Plain data of a member of a union of dataclasses: with its kind."""
    return {"is": type(value).__name__.lower(), **cast("dict[str, Plain]", encode(value, blobs))}


def decode(kind: object, data: object, place: str, blobs: Sequence[Blob] = ()) -> object:
    """The value of a type that plain data stands for.

    Raises:
        ModelFileError: the data is not of that type.
    """
    return _reader(kind)(data, place, blobs)


def fault(place: str, message: str) -> ModelFileError:
    """What is wrong with a file, and where in it."""
    return ModelFileError(message, place=place, remedy="The file is damaged, or of another version of netwright: compile the model again.")


def _fields_of(value: object) -> list[tuple[str, object, object]]:
    return [(name, getattr(value, name), default) for name, default in _defaults(type(value))]


@cache
def _defaults(cls: type) -> tuple[tuple[str, object], ...]:
    assert is_dataclass(cls)
    return tuple((one.name, one.default_factory() if one.default_factory is not MISSING else one.default) for one in fields(cls))


def _same(found: object, default: object) -> bool:
    return default is not MISSING and type(found) is type(default) and not isinstance(found, np.ndarray) and found == default


# ---- readers, made once for each type ------------------------------------------------------------------------------------


@cache
def _reader(kind: object) -> _Read:
    simple = _SIMPLE.get(kind)
    if simple is not None:
        return simple
    origin = get_origin(kind)
    if origin is tuple:
        return _tuple_reader(get_args(kind))
    if origin is Literal:
        return _literal_reader(get_args(kind))
    if origin in (Union, types.UnionType):
        return _union_reader(get_args(kind))
    if isinstance(kind, type) and is_dataclass(kind):
        return _object_reader(kind)
    raise TypeError(f"{kind} has no plain form")


def _integer(data: object, place: str, blobs: Sequence[Blob]) -> object:
    if type(data) is not int or abs(data) > _LARGEST:
        raise fault(place, f"An integer was expected, {_short(data)} found.")
    return data


def _number(data: object, place: str, blobs: Sequence[Blob]) -> object:
    if type(data) not in (int, float) or not abs(cast("float", data)) <= 1e300:  # NaN is not, and integers may be of any length
        raise fault(place, f"A finite number was expected, {_short(data)} found.")
    return float(cast("float", data))


def _text(data: object, place: str, blobs: Sequence[Blob]) -> object:
    if type(data) is not str:
        raise fault(place, f"A text was expected, {_short(data)} found.")
    return data


def _truth(data: object, place: str, blobs: Sequence[Blob]) -> object:
    if type(data) is not bool:
        raise fault(place, f"true or false was expected, {_short(data)} found.")
    return data


def _nothing(data: object, place: str, blobs: Sequence[Blob]) -> object:
    if data is not None:
        raise fault(place, f"Nothing was expected, {_short(data)} found.")
    return None


def _element_type(data: object, place: str, blobs: Sequence[Blob]) -> object:
    found = onnx_ir.DataType.__members__.get(data) if isinstance(data, str) else None
    if found is None:
        raise fault(place, f"{_short(data)} is no element type.")
    return found


def _blob_reader(kind: type) -> _Read:
    def read(data: object, place: str, blobs: Sequence[Blob]) -> object:
        named = cast("dict[str, object]", data) if isinstance(data, dict) else {}
        index = named.get("blob")
        if type(index) is not int or not 0 <= index < len(blobs) or not isinstance(blobs[index], kind):
            raise fault(place, f"{_short(index)} names no data of this file.")
        return blobs[index]

    return read


_SIMPLE: dict[object, _Read] = {
    int: _integer,
    float: _number,
    str: _text,
    bool: _truth,
    type(None): _nothing,
    onnx_ir.DataType: _element_type,
    np.ndarray: _blob_reader(np.ndarray),
    bytes: _blob_reader(bytes),
}


def _tuple_reader(inner: tuple[object, ...]) -> _Read:
    if len(inner) == 2 and inner[1] is Ellipsis:
        item = _reader(inner[0])
        return lambda data, place, blobs: tuple([item(one, place, blobs) for one in _list(data, place, None)])
    items = [_reader(one) for one in inner]
    return lambda data, place, blobs: tuple(
        [item(one, place, blobs) for item, one in zip(items, _list(data, place, len(items)), strict=True)]
    )


def _list(data: object, place: str, size: int | None) -> list[object]:
    if not isinstance(data, list) or (size is not None and len(cast("list[object]", data)) != size):
        raise fault(place, f"A list{'' if size is None else f' of {size}'} was expected, {_short(cast('object', data))} found.")
    return cast("list[object]", data)


def _literal_reader(allowed: tuple[object, ...]) -> _Read:
    def read(data: object, place: str, blobs: Sequence[Blob]) -> object:
        if not isinstance(data, str) or data not in allowed:
            raise fault(place, f"One of {', '.join(map(str, allowed))} was expected, {_short(data)} found.")
        return data

    return read


def _union_reader(members: tuple[object, ...]) -> _Read:
    classes = {one.__name__.lower(): one for one in members if isinstance(one, type) and is_dataclass(one)}
    if len(classes) == len(members):
        return _member_reader({name: _reader(one) for name, one in classes.items()})
    choices = [_reader(one) for one in members]

    def read(data: object, place: str, blobs: Sequence[Blob]) -> object:
        if data is None and type(None) in members:
            return None
        for choice in choices[:-1]:
            try:
                return choice(data, place, blobs)
            except ModelFileError:
                continue
        return choices[-1](data, place, blobs)

    ordered = sorted(range(len(members)), key=lambda n: members[n] is type(None))  # the last choice's fault is the one told
    real = [choices[n] for n in ordered if members[n] is not type(None)]
    choices[:] = real
    return read


def _member_reader(readers: dict[str, _Read]) -> _Read:
    def read(data: object, place: str, blobs: Sequence[Blob]) -> object:
        found = cast("dict[str, object]", data) if isinstance(data, dict) else {}
        kind = found.get("is")
        reader = readers.get(kind) if isinstance(kind, str) else None
        if reader is None:
            raise fault(place, f"{_short(kind)} is none of {', '.join(readers)}.")
        return reader({name: value for name, value in found.items() if name != "is"}, place, blobs)

    return read


@dataclass(frozen=True, slots=True)
class _Field:
    read: _Read
    default: object


def _object_reader(cls: type) -> _Read:
    hints = get_type_hints(cls)
    known = {name: _Field(_reader(hints[name]), default) for name, default in _defaults(cls)}
    needed = {name for name, one in known.items() if one.default is MISSING}

    def read(data: object, place: str, blobs: Sequence[Blob]) -> object:
        if not isinstance(data, dict):
            raise fault(place, f"An object ({cls.__name__}) was expected, {_short(data)} found.")
        given = cast("dict[str, object]", data)
        if given.keys() - known.keys() or needed - given.keys():
            wrong = sorted(map(str, given.keys() - known.keys())) or sorted(needed - given.keys())
            raise fault(place, f"{cls.__name__}: the field {_short(wrong[0])} is unknown or missing.")
        return cls(**{name: known[name].read(value, f"{place}.{name}", blobs) for name, value in given.items()})

    return read


def _short(data: object) -> str:
    text = repr(data)
    return text if len(text) <= 60 else text[:57] + "…"
