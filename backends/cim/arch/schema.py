"""The types of a description, checked by pydantic models that are made from the dataclasses of `model`."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from types import ModuleType, UnionType
from typing import Any, Protocol, cast, get_args, get_origin, get_type_hints

from netwright.backends.cim.arch.checks import ChipError
from netwright.backends.cim.arch.lines import Text
from netwright.backends.cim.arch.model import Arch
from netwright.ir.errors import MissingExtraError


class _Checked(Protocol):
    """What this file asks of pydantic's models."""

    model_fields_set: set[str]

    @classmethod
    def model_validate(cls, obj: object) -> _Checked: ...


def build(text: Text) -> Arch:
    """The chip of a description whose keys and types are right; figures are not looked at.

    Raises:
        ChipError: a key that no field has, a value of another type; the place is its line.
        MissingExtraError: pydantic is not installed.
    """
    pydantic = _pydantic()
    if not isinstance(text.data, dict):
        raise ChipError("A chip is a mapping of fields.", place=text.where(()), remedy="Begin with `name: …`.")
    try:
        checked = _model(Arch).model_validate(text.data)
    except pydantic.ValidationError as error:
        raise _refusal(text, error.errors(include_url=False)) from error
    return cast("Arch", _made(Arch, checked))


@cache
def _model(cls: type) -> type[_Checked]:
    """A pydantic model with the fields of a dataclass: strict, nothing besides."""
    pydantic = _pydantic()
    hints = get_type_hints(cls)
    fields: dict[str, Any] = {}
    for one in dataclasses.fields(cls):
        required = one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
        fields[one.name] = (_kind(hints[one.name]), ... if required else None)
    config = pydantic.ConfigDict(extra="forbid", strict=True)
    return pydantic.create_model(cls.__name__, __config__=config, **fields)


def _kind(hint: object) -> object:
    """What pydantic checks for a field: models for dataclasses, lists for tuples."""
    if dataclasses.is_dataclass(hint):
        return _model(cast("type", hint))
    if isinstance(hint, UnionType):
        inner = [one for one in get_args(hint) if one is not type(None)]
        return cast("type", _kind(inner[0])) | None
    if get_origin(hint) is tuple:
        return list[get_args(hint)[0]]
    return hint


def _made(cls: type, checked: _Checked) -> object:
    """The dataclass of a checked model: only what was written, the rest by the dataclass's own defaults."""
    given: dict[str, object] = {}
    for one in dataclasses.fields(cls):
        if one.name in checked.model_fields_set:
            given[one.name] = _value(get_type_hints(cls)[one.name], getattr(checked, one.name))
    return cls(**given)


def _value(hint: object, value: object) -> object:
    for one in (hint, *get_args(hint)):
        if dataclasses.is_dataclass(one) and value is not None:
            return _made(cast("type", one), cast("_Checked", value))
    if isinstance(value, list):
        return tuple(cast("list[object]", value))
    return float(value) if hint is float and isinstance(value, int) else value


def _refusal(text: Text, errors: list[Mapping[str, Any]]) -> ChipError:
    """The first thing that pydantic found, in netwright's words."""
    first = errors[0]
    path = tuple(str(part) for part in first["loc"])
    more = f" ({len(errors) - 1} more like it.)" if len(errors) > 1 else ""
    place = text.where(path)
    if first["type"] == "extra_forbidden":
        known = list(_fields_at(path[:-1]))
        near = difflib.get_close_matches(path[-1], known, 1)
        remedy = f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(known)}."
        return ChipError(f"No field is called {path[-1]!r}.{more}", place=place, remedy=remedy)
    if first["type"] == "missing":
        return ChipError(f"{path[-1]!r} is missing.{more}", place=place, remedy="Write it.")
    if first["type"] == "model_type":
        return ChipError(f"{'.'.join(path)} is a mapping of fields.{more}", place=place, remedy=f"Known: {', '.join(_fields_at(path))}.")
    written = repr(first["input"])
    return ChipError(f"{written[:60]} does not fit {path[-1]}.{more}", place=place, remedy=f"{first['msg']}.")


def _fields_at(path: tuple[str, ...]) -> Iterator[str]:
    """The fields that a part of a chip has."""
    at: Any = Arch
    for part in path:
        hint = get_type_hints(at)[part]
        at = next(one for one in (hint, *get_args(hint)) if dataclasses.is_dataclass(one))
    yield from (one.name for one in dataclasses.fields(at))


def _pydantic() -> ModuleType:
    try:
        return importlib.import_module("pydantic")
    except ImportError as error:
        raise MissingExtraError("pydantic is not installed.", place="chip", remedy="pip install 'netwright[cim]'.") from error
