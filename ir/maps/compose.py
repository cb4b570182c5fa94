"""Composition: maps one after the other, and side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np

from netwright.ir.maps.base import Json, ValueMap, check
from netwright.ir.maps.moves import Gone, Permute, Reshape, Same, Take
from netwright.ir.maps.numbers import Affine, differs, plain

Step: TypeAlias = Callable[[ValueMap, np.ndarray], "np.ndarray | tuple[np.ndarray, ...] | None"]


@dataclass(frozen=True, slots=True, eq=False)
class Chain(ValueMap):
    """Maps one after the other; made by `then`."""

    maps: tuple[ValueMap, ...]

    @property
    def arity(self) -> int:
        """As the first takes."""
        return self.maps[0].arity

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """Each in turn."""
        first, *rest = self.maps
        result = first.apply(*arrays)
        for link in rest:
            result = link.apply(result)
        return result

    def inverse(self) -> ValueMap | None:
        """The maps back, in reverse, where each has one."""
        backwards = [link.inverse() for link in reversed(self.maps)]
        known = [link for link in backwards if link is not None]
        return chain(known) if len(known) == len(backwards) else None

    def invert(self, array: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...] | None:
        """Each map back in turn; the first may have come from several arrays."""
        return _backwards(self.maps, array, lambda link, result: link.invert(result))

    def reconstruct(self, array: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...] | None:
        """Each map back in turn, as nearly as it tells."""
        return _backwards(self.maps, array, lambda link, result: link.reconstruct(result))

    def describe(self) -> str:
        """All of them."""
        return ", ".join(link.describe() for link in self.maps)

    def to_dict(self) -> dict[str, Json]:
        """JSON-able data that `from_dict` reads."""
        return {"kind": "Chain", "maps": [link.to_dict() for link in self.maps]}


@dataclass(frozen=True, slots=True, eq=False)
class Joined(ValueMap):
    """A map of several arrays, each of which comes through a map of its own; made by `join`."""

    outer: ValueMap
    inners: tuple[ValueMap, ...]

    @property
    def arity(self) -> int:
        """As all the inner maps take together."""
        return sum(inner.arity for inner in self.inners)

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """The outer map, of what the inner ones give."""
        check(len(arrays) == self.arity, f"{len(arrays)} arrays given, {self.arity} taken")
        given = iter(arrays)
        return self.outer.apply(*(inner.apply(*(next(given) for _ in range(inner.arity))) for inner in self.inners))

    def invert(self, array: np.ndarray) -> tuple[np.ndarray, ...] | None:
        """All the old arrays, where each map has a way back."""
        return self._back(array, lambda link, result: link.invert(result))

    def reconstruct(self, array: np.ndarray) -> tuple[np.ndarray, ...] | None:
        """All the old arrays, as nearly as can be told."""
        return self._back(array, lambda link, result: link.reconstruct(result))

    def _back(self, array: np.ndarray, step: Step) -> tuple[np.ndarray, ...] | None:
        parts = step(self.outer, array)
        if parts is None:
            return None
        found: list[np.ndarray] = []
        for inner, part in zip(self.inners, parts if isinstance(parts, tuple) else (parts,), strict=True):
            old = step(inner, part)
            if old is None:
                return None
            found.extend(old if isinstance(old, tuple) else (old,))
        return tuple(found)

    def describe(self) -> str:
        """The outer map, of the inner ones."""
        return f"{self.outer.describe()} of ({'; '.join(inner.describe() for inner in self.inners)})"

    def to_dict(self) -> dict[str, Json]:
        """JSON-able data that `from_dict` reads."""
        return {"kind": "Joined", "outer": self.outer.to_dict(), "inners": [inner.to_dict() for inner in self.inners]}


def join(outer: ValueMap, inners: Sequence[ValueMap]) -> ValueMap:
    """A map of several arrays after maps of each: `outer(inners[0](…), inners[1](…), …)`.

    Raises:
        ValueError: there are not as many maps as the outer one takes arrays.
    """
    check(len(inners) == outer.arity, f"{len(inners)} maps for {outer.arity} arrays")
    gone = next((inner for inner in inners if isinstance(inner, Gone)), None)
    if gone is not None:
        return gone
    if len(inners) == 1:
        return inners[0].then(outer)
    return outer if all(isinstance(inner, Same) for inner in inners) else Joined(outer, tuple(inners))


def links(value_map: ValueMap) -> tuple[ValueMap, ...]:
    """The maps that a chain consists of; a map by itself otherwise."""
    return value_map.maps if isinstance(value_map, Chain) else (value_map,)


def chain(links: Sequence[ValueMap]) -> ValueMap:
    """Maps in order as one, neighbours of the same kind made one."""
    result: list[ValueMap] = []
    for link in links:
        if result and isinstance(result[-1], Gone):
            break
        if isinstance(link, Gone):
            return link
        merged = _MERGES[type(link)](result[-1], link) if result and type(link) is type(result[-1]) and type(link) in _MERGES else None
        if merged is not None:
            result.pop()
            link = merged
        if not _idle(link):
            result.append(link)
    if not result:
        return Same()
    return result[0] if len(result) == 1 else Chain(tuple(result))


def _idle(link: ValueMap) -> bool:
    """True of maps that change nothing."""
    if isinstance(link, Take):
        return link.index == tuple(range(link.size))
    if isinstance(link, Permute):
        return link.perm == tuple(range(len(link.perm)))
    if isinstance(link, Reshape):
        return link.shape == link.before
    if isinstance(link, Affine):
        return not differs(link.scale, 1.0) and not differs(link.shift, 0.0)
    return isinstance(link, Same)


def _merge_takes(first: ValueMap, second: ValueMap) -> ValueMap | None:
    a, b = cast("Take", first), cast("Take", second)
    if a.axis != b.axis or len(a.index) != b.size:
        return None
    return Take(a.axis, tuple(a.index[i] for i in b.index), a.size)


def _merge_permutes(first: ValueMap, second: ValueMap) -> ValueMap | None:
    a, b = cast("Permute", first), cast("Permute", second)
    return Permute(tuple(a.perm[i] for i in b.perm)) if len(a.perm) == len(b.perm) else None


def _merge_reshapes(first: ValueMap, second: ValueMap) -> ValueMap | None:
    return Reshape(cast("Reshape", second).shape, cast("Reshape", first).before)


def _merge_affines(first: ValueMap, second: ValueMap) -> ValueMap | None:
    a, b = cast("Affine", first), cast("Affine", second)
    scale = np.multiply(np.asarray(a.scale, dtype=np.float64), b.scale)
    shift = np.multiply(np.asarray(a.shift, dtype=np.float64), b.scale) + b.shift
    return Affine(plain(scale), plain(shift))


_MERGES: Mapping[type[ValueMap], Callable[[ValueMap, ValueMap], ValueMap | None]] = {
    Take: _merge_takes,
    Permute: _merge_permutes,
    Reshape: _merge_reshapes,
    Affine: _merge_affines,
}


def _backwards(maps: Sequence[ValueMap], array: np.ndarray, step: Step) -> np.ndarray | tuple[np.ndarray, ...] | None:
    result: np.ndarray | tuple[np.ndarray, ...] | None = array
    for link in reversed(maps):
        if not isinstance(result, np.ndarray):
            return None
        result = step(link, result)
    return result
