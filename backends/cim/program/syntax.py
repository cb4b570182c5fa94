"""The values of a program's text: numbers, "texts", lists in brackets, objects in braces; a box is [0:1, 0:32].

    value  = number | "text" | true | false | none | [value, ...] | [number:number, ...] | {name=value, ...}
    record = {name=value ...}, without the braces and commas, on a line

It is another spelling of plain data (`plain`).
"""

from __future__ import annotations

import json
import re
from typing import cast

from netwright.backends.cim.program.plain import Plain
from netwright.ir.errors import ModelFileError

_TOKEN = re.compile(
    r'\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<number>-?(?:\d+\.?\d*(?:[eE][-+]?\d+)?))|(?P<word>[A-Za-z_][A-Za-z_0-9]*)|(?P<mark>[\[\]{},=:])|(?P<rest>#.*)?$)'
)
_WORDS: dict[str, Plain] = {"true": True, "false": False, "none": None}
_DEPTH = 32


def write_value(data: Plain) -> str:
    """The text of a value."""
    if data is None:
        return "none"
    if isinstance(data, bool):
        return "true" if data else "false"
    if isinstance(data, int | float):
        return repr(data)
    if isinstance(data, str):
        return json.dumps(data, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085")
    if isinstance(data, dict):
        return "{" + ", ".join(f"{name}={write_value(value)}" for name, value in data.items()) + "}"
    if data and all(_is_range(one) for one in data):
        return "[" + ", ".join(":".join(map(str, cast("list[int]", one))) for one in data) + "]"
    return "[" + ", ".join(map(write_value, data)) + "]"


def write_record(data: dict[str, Plain]) -> str:
    """The text of an object's fields, on one line."""
    return " ".join(f"{name}={write_value(value)}" for name, value in data.items())


def read_record(text: str, place: str) -> dict[str, Plain]:
    """The fields of one line; what follows a # outside of texts is left out.

    Raises:
        ModelFileError: the line is of another form.
    """
    return _Reader(text, place).record()


def _is_range(one: Plain) -> bool:
    return isinstance(one, list) and len(one) == 2 and type(one[0]) is int and type(one[1]) is int


class _Reader:
    """Reads a line, token by token."""

    def __init__(self, text: str, place: str) -> None:
        self._place = place
        self._tokens: list[tuple[str, str]] = []
        position = 0
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None:
                raise self._fault(f"{text[position : position + 20]!r} is not understood")
            kind = found.lastgroup
            if kind is not None and kind != "rest":
                self._tokens.append((kind, found.group(kind)))
            position = found.end() if found.end() > position else len(text)
        self._next = 0

    def record(self) -> dict[str, Plain]:
        """name=value, until the line ends."""
        fields: dict[str, Plain] = {}
        while self._next < len(self._tokens):
            self._field(fields, 0)
        return fields

    def _field(self, fields: dict[str, Plain], depth: int) -> None:
        kind, name = self._take()
        if kind != "word" or name in fields:
            raise self._fault(f"{name!r} is no name of a field, or is there twice")
        self._expect("=")
        fields[name] = self._value(depth + 1)

    def _value(self, depth: int) -> Plain:
        if depth > _DEPTH:
            raise self._fault("it is nested too deeply")
        kind, token = self._take()
        if kind == "text":
            try:
                return cast("str", json.loads(token))
            except ValueError as error:
                raise self._fault(f"{token[:20]} is no text") from error
        if kind == "number":
            return self._number(token)
        if kind == "word" and token in _WORDS:
            return _WORDS[token]
        if token == "[":
            return self._list(depth)
        if token == "{":
            return self._object(depth)
        raise self._fault(f"{token!r} is no value")

    def _number(self, token: str) -> Plain:
        if len(token) > 40:
            raise self._fault(f"{token[:20]}… is too long a number")
        whole = token.lstrip("-").isdigit()
        return int(token) if whole else float(token)

    def _list(self, depth: int) -> Plain:
        items: list[Plain] = []
        while not self._taken("]"):
            one = self._value(depth + 1)
            if self._taken(":"):
                one = [one, self._value(depth + 1)]
            items.append(one)
            if not self._taken(","):
                self._expect("]")
                break
        return items

    def _object(self, depth: int) -> Plain:
        fields: dict[str, Plain] = {}
        while not self._taken("}"):
            self._field(fields, depth)
            if not self._taken(","):
                self._expect("}")
                break
        return fields

    def _take(self) -> tuple[str, str]:
        if self._next >= len(self._tokens):
            raise self._fault("it ends too early")
        self._next += 1
        return self._tokens[self._next - 1]

    def _taken(self, mark: str) -> bool:
        if self._next < len(self._tokens) and self._tokens[self._next] == ("mark", mark):
            self._next += 1
            return True
        return False

    def _expect(self, mark: str) -> None:
        if not self._taken(mark):
            raise self._fault(f"{mark!r} is missing")

    def _fault(self, message: str) -> ModelFileError:
        return ModelFileError(f"The line cannot be read: {message}.", place=self._place, remedy="See `netwright cim disasm` for the form.")
