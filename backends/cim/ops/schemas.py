"""What the operators of the domain `netwright.cim` take, give and may be told."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir

from netwright.ir.schemas import TYPE_DTYPES, AttributeFacts, DefaultValue, Formal, Schema

DOMAIN = "netwright.cim"
VERSION = 1

_BYTES = frozenset({"tensor(uint8)", "tensor(int8)"})
_TYPES = {
    "X": _BYTES,
    "Y": _BYTES,
    "W": frozenset({"tensor(int8)"}),
    "I": frozenset({"tensor(int32)"}),
    "F": frozenset({"tensor(float)"}),
}

REQUIRED = object()
"""Marks an attribute that must be given."""


def _formals(text: str) -> tuple[Formal, ...]:
    found: list[Formal] = []
    for word in text.split():
        name, var = word.split(":")
        types = _TYPES[var]
        found.append(Formal(name, type_var=var, types=types, dtypes=frozenset(TYPE_DTYPES[text] for text in types)))
    return tuple(found)


def _attribute(name: str, default: DefaultValue, kind: str, *, required: bool) -> AttributeFacts:
    return AttributeFacts(name, onnx_ir.AttributeType[kind], required, None if required else default)


def schema(name: str, inputs: str, outputs: str, attributes: Mapping[str, tuple[str, DefaultValue | object]]) -> Schema:
    """A schema from a small notation: inputs and outputs as `name:T`, attributes as (type, default or `REQUIRED`)."""
    takes, gives = _formals(inputs), _formals(outputs)
    facts = {
        key: _attribute(key, None if default is REQUIRED else default, kind, required=default is REQUIRED)  # pyright: ignore[reportArgumentType]
        for key, (kind, default) in attributes.items()
    }
    return Schema(DOMAIN, name, VERSION, takes, gives, facts, len(takes), len(takes), len(gives), len(gives))
