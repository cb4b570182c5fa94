"""One item of a data set as a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

import numpy as np

from netwright.ir.errors import DataError
from netwright.ir.signature import Port, fit_feeds, to_array

Batch: TypeAlias = dict[str, np.ndarray]


def is_array(item: object) -> bool:
    """True of numpy arrays and torch tensors, by what they have."""
    return hasattr(item, "shape") and hasattr(item, "dtype")


def to_batch(item: object, ports: tuple[Port, ...], *, where: str) -> Batch:
    """A batch of a dict, a tuple or list, or an array; see `as_batches`.

    Raises:
        DataError: it does not fit the inputs.
    """
    named = _named(item, ports, where)
    known = {port.name for port in ports}
    feeds = fit_feeds({name: value for name, value in named.items() if name in known}, ports, where=where)
    extras = {name: to_array(value, place=f"{where}, {name}") for name, value in named.items() if name not in known}
    return {**feeds, **extras}


def _named(item: object, ports: tuple[Port, ...], where: str) -> dict[str, object]:
    if isinstance(item, Mapping):
        return dict(cast("Mapping[str, object]", item))
    required = [port.name for port in ports if port.required]
    parts = _parts(item)
    if _is_positional(parts):
        return _by_position(parts, required, where)
    if len(required) == 1:
        return {required[0]: item}
    raise DataError(
        f"A {type(item).__name__} was given, and the program has {len(required)} inputs.",
        place=where,
        remedy=f"Give a dict, or a tuple, with {', '.join(required)}.",
    )


def _parts(item: object) -> list[object]:
    """The items of a tuple or list; none of anything else."""
    return list(cast("Sequence[object]", item)) if isinstance(item, tuple | list) else []


def _is_positional(items: Sequence[object]) -> bool:
    """A list of arrays goes by position; nested numbers are one array."""
    return any(is_array(one) or isinstance(one, Mapping) for one in items) or (bool(items) and _is_positional(_parts(items[0])))


def _by_position(items: list[object], required: list[str], where: str) -> dict[str, object]:
    first, rest = items[0], items[1:]
    if isinstance(first, Mapping):
        return {**dict(cast("Mapping[str, object]", first)), **labelled(rest)}
    nested = _parts(first)
    if _is_positional(nested):
        return {**_by_position(nested, required, where), **labelled(rest)}
    if len(items) < len(required):
        raise DataError(
            f"{len(items)} arrays were given for {len(required)} inputs.", place=where, remedy=f"The inputs are {', '.join(required)}."
        )
    return {**dict(zip(required, items, strict=False)), **labelled(items[len(required) :])}


def labelled(items: Sequence[object]) -> dict[str, object]:
    """What comes after the inputs: `labels`, or `labels_0`, `labels_1` … where there are several."""
    if len(items) == 1:
        return {"labels": items[0]}
    return {f"labels_{index}": item for index, item in enumerate(items)}
