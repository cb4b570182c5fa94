"""YAML with its line numbers: one document of plain mappings, lists and scalars, and where each of them stands."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol, TypeAlias, cast

from netwright.backends.cim.arch.checks import ChipError
from netwright.ir.errors import MissingExtraError

Plain: TypeAlias = "dict[str, Plain] | list[Plain] | str | int | float | bool | None"
"""What a description is made of."""


@dataclass(frozen=True, slots=True)
class Text:
    """A description as read.

    Attributes:
        place: the file, as errors name it.
        data: the document.
        lines: the line of every path, from 1.
    """

    place: str
    data: Plain
    lines: dict[tuple[str, ...], int]

    def where(self, path: tuple[str, ...]) -> str:
        """How an error names a path: file, line and field; the line of the closest part that is written where it is not itself."""
        near = path
        while near and near not in self.lines:
            near = near[:-1]
        line = f", line {self.lines[near]}" if near in self.lines else ""
        return f"{self.place}{line}: {'.'.join(path)}" if path else f"{self.place}{line}"


class _Mark(Protocol):
    line: int


class _Node(Protocol):
    """What this file asks of pyyaml's nodes: a scalar's value is text, a list's a list of nodes, a mapping's pairs of them."""

    tag: str
    start_mark: _Mark
    value: Any


def yaml_module() -> ModuleType:
    """The package pyyaml.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module("yaml")
    except ImportError as error:
        raise MissingExtraError("pyyaml is not installed.", place="chip", remedy="pip install 'netwright[cim]'.") from error


def read_text(text: str, place: str) -> Text:
    """Parse a YAML document.

    Raises:
        ChipError: it is not YAML, or has what descriptions do not: aliases, tags, keys that are no names, a key twice.
        MissingExtraError: pyyaml is not installed.
    """
    yaml = yaml_module()
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                where = f"{place}, line {event.start_mark.line + 1}"
                raise ChipError("Chip descriptions have no aliases.", place=where, remedy="Write the part out where it is used.")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[tuple[str, ...], int] = {}
        data = _plain(yaml, root, (), lines, place) if root is not None else {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{place}, line {mark.line + 1}" if mark is not None else place
        reason = getattr(error, "problem", None) or str(error)
        raise ChipError(
            f"This is not YAML: {reason}.", place=where, remedy="Compare with `netwright cim show generic-28nm --yaml`."
        ) from error
    except RecursionError as error:
        raise ChipError("The description is nested too deeply.", place=place, remedy="A chip has at most four levels.") from error
    return Text(place, data, lines)


def _plain(yaml: ModuleType, node: _Node, path: tuple[str, ...], lines: dict[tuple[str, ...], int], place: str) -> Plain:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(yaml, item, (*path, str(index)), lines, place) for index, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return _scalar(yaml, node, path, place)
    found: dict[str, Plain] = {}
    for key, value in node.value:
        where = f"{place}, line {key.start_mark.line + 1}"
        if not isinstance(key.value, str):
            raise ChipError("A key is not a name.", place=where, remedy="Write names of fields.")
        if key.value in found:
            raise ChipError(f"{key.value!r} stands twice.", place=where, remedy="Keep one of them.")
        lines[(*path, key.value)] = key.start_mark.line + 1
        found[key.value] = _plain(yaml, value, (*path, key.value), lines, place)
    return found


def _scalar(yaml: ModuleType, node: _Node, path: tuple[str, ...], place: str) -> Plain:
    kinds = {"null": type(None), "bool": bool, "int": int, "float": float, "str": str}
    tag = node.tag.removeprefix("tag:yaml.org,2002:")
    if tag not in kinds:
        where = f"{place}, line {node.start_mark.line + 1}: {'.'.join(path)}"
        raise ChipError(f"{node.value!r} is a {tag}.", place=where, remedy="Write a number, a word, true, false or null.")
    try:
        return cast("Plain", yaml.SafeLoader("").construct_object(node))
    except (ValueError, OverflowError) as error:
        where = f"{place}, line {node.start_mark.line + 1}: {'.'.join(path)}"
        raise ChipError(f"{node.value!r} is no {tag}.", place=where, remedy="Write a plain number.") from error
