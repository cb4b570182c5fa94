"""How a value of the graph comes from values of the graph before: a map and the names that it is applied to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from netwright.ir.maps.base import Json, ValueMap, from_json
from netwright.ir.maps.compose import Chain, Joined, join
from netwright.ir.maps.moves import Concat, Gone, Permute, Reshape, Same, Split, Take
from netwright.ir.maps.numbers import Affine, Cast, Factor, Merge


@dataclass(frozen=True, slots=True)
class Mapped:
    """How a value comes from values of the graph before.

    Attributes:
        map: the map.
        sources: names of the values that it is applied to, in order.
    """

    map: ValueMap
    sources: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.sources) != self.map.arity and not isinstance(self.map, Gone):
            raise ValueError(f"{self.map.describe()!r} takes {self.map.arity} values, {len(self.sources)} named")

    def after(self, earlier: Mapping[str, Mapped]) -> Mapped:
        """The same value in terms of still earlier ones: sources that `earlier` knows are replaced by what they came from."""
        if isinstance(self.map, Gone) or not any(name in earlier for name in self.sources):
            return self
        parts = [earlier.get(name) or Mapped(Same(), (name,)) for name in self.sources]
        joined = join(self.map, [part.map for part in parts])
        sources = tuple(name for part in parts for name in part.sources)
        return Mapped(joined, sources)

    def describe(self) -> str:
        """Where from and how, for the dump."""
        how = self.map.describe()
        return " ".join(filter(None, (", ".join(self.sources), "" if how == "same" else how)))

    def to_dict(self) -> dict[str, Json]:
        """JSON-able data."""
        return {"map": self.map.to_dict(), "sources": list(self.sources)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Json]) -> Mapped:
        """Read what `to_dict` wrote."""
        sources = cast("list[str]", data["sources"])
        return cls(from_dict(cast("dict[str, Json]", data["map"])), tuple(sources))


_KINDS: Mapping[str, type[ValueMap]] = {
    kind.__name__: kind for kind in (Same, Take, Permute, Reshape, Affine, Cast, Concat, Split, Factor, Merge, Gone)
}


def from_dict(data: Mapping[str, Json]) -> ValueMap:
    """Read what `to_dict` wrote.

    Raises:
        ValueError: the kind is unknown.
    """
    kind = str(data["kind"])
    if kind == "Chain":
        return Chain(tuple(from_dict(link) for link in cast("list[dict[str, Json]]", data["maps"])))
    if kind == "Joined":
        inners = cast("list[dict[str, Json]]", data["inners"])
        return Joined(from_dict(cast("dict[str, Json]", data["outer"])), tuple(from_dict(inner) for inner in inners))
    if kind not in _KINDS:
        raise ValueError(f"there is no value map {kind!r}; known: {', '.join(_KINDS)}, Chain, Joined")
    make = cast("Callable[..., ValueMap]", _KINDS[kind])
    return make(**{name: from_json(value) for name, value in data.items() if name != "kind"})
