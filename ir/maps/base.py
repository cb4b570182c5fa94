"""The base of all value maps, and what they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

if TYPE_CHECKING:
    from netwright.ir.maps.moves import Same

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


class ValueMap(ABC):
    """How an array comes from `arity` older ones."""

    __slots__ = ()

    @property
    def arity(self) -> int:
        """How many arrays `apply` takes."""
        return 1

    @abstractmethod
    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """The new array, from the old ones. Never changes its arguments; may return a view.

        Raises:
            ValueError: an array does not fit the map, or the value is gone.
        """

    def inverse(self) -> ValueMap | None:
        """The map back, where there is one and it gives one array."""
        return None

    def invert(self, array: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...] | None:
        """The old array (a tuple of them, for maps of several), or None where the new one does not determine it."""
        back = self.inverse()
        return None if back is None else back.apply(array)

    def reconstruct(self, array: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...] | None:
        """The old array as nearly as the new one tells: `invert`, or what a quantized array stands for, or None."""
        return self.invert(array)

    def then(self, other: ValueMap) -> ValueMap:
        """This map first, then another of one array.

        Raises:
            ValueError: the other takes several arrays (`join` composes those).
        """
        if other.arity != 1:
            raise ValueError(f"{other.describe()!r} takes {other.arity} arrays; join() composes such maps")
        from netwright.ir.maps.compose import chain, links

        return chain([*links(self), *links(other)])

    @abstractmethod
    def describe(self) -> str:
        """In a few words, for the dump: `take axis 0 keep 48 of 64`."""

    def to_dict(self) -> dict[str, Json]:
        """JSON-able data that `from_dict` reads."""
        values = {item.name: to_json(getattr(self, item.name)) for item in fields(cast("Same", self))}
        return {"kind": type(self).__name__, **values}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.to_dict() == cast("ValueMap", other).to_dict()

    def __hash__(self) -> int:
        return hash(repr(self.to_dict()))


def only(arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    """The one array that was given.

    Raises:
        ValueError: there are several, or none.
    """
    check(len(arrays) == 1, f"{len(arrays)} arrays given, 1 taken")
    return arrays[0]


def check(holds: bool, message: str) -> None:
    """Raise ValueError with the message where something does not hold."""
    if not holds:
        raise ValueError(message)


def to_json(value: object) -> Json:
    """A field of a map as JSON-able data."""
    if isinstance(value, np.ndarray):
        return _array_to_json(cast("np.ndarray", value))
    if isinstance(value, tuple):
        return [to_json(item) for item in cast("tuple[object, ...]", value)]
    if isinstance(value, np.generic):
        return cast("Json", value.item())
    return cast("Json", value)


def _array_to_json(array: np.ndarray) -> Json:
    shape: list[Json] = [int(size) for size in array.shape]
    data: list[Json] = [float(element) for element in array.astype(np.float64).reshape(-1)]
    return {"dtype": str(array.dtype), "shape": shape, "data": data}


def from_json(value: Json) -> object:
    """Read what `to_json` wrote."""
    if isinstance(value, dict):
        shape = tuple(cast("list[int]", value["shape"]))
        return np.asarray(value["data"], dtype=np.float64).astype(str(value["dtype"])).reshape(shape)
    return tuple(value) if isinstance(value, list) else value
