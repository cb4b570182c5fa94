"""Value maps: how a value of the new graph, a weight or an activation, comes from values of the graph before.

`map.apply(old) → new`; `map.invert(new) → old`, where new determines old; `f.then(g)` is "first f, then g". The laws, which
are tested: `f.then(g).apply == g.apply ∘ f.apply`, and `invert ∘ apply` is the identity (up to rounding) where it is not None.
A map that loses something has no inverse, but may be able to say what old was, about: `reconstruct`.

Layer-by-layer comparison across pruning, weight write-back and graph diff rest on these. Maps are immutable data and go
to JSON and back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias, cast

import numpy as np
import onnx_ir

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

__all__ = [
    "Affine",
    "Cast",
    "Chain",
    "Concat",
    "Factor",
    "Gone",
    "Joined",
    "Mapped",
    "Merge",
    "Permute",
    "Reshape",
    "Same",
    "Split",
    "Take",
    "ValueMap",
    "from_dict",
    "join",
]


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
        return _chain([*_links(self), *_links(other)])

    @abstractmethod
    def describe(self) -> str:
        """In a few words, for the dump: `take axis 0 keep 48 of 64`."""

    def to_dict(self) -> dict[str, Json]:
        """JSON-able data that `from_dict` reads."""
        values = {item.name: _to_json(getattr(self, item.name)) for item in fields(cast("Same", self))}
        return {"kind": type(self).__name__, **values}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.to_dict() == cast("ValueMap", other).to_dict()

    def __hash__(self) -> int:
        return hash(repr(self.to_dict()))


@dataclass(frozen=True, slots=True, eq=False)
class Same(ValueMap):
    """The value is what it was, perhaps under another name."""

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """The array itself."""
        return _only(arrays)

    def inverse(self) -> ValueMap:
        """Itself."""
        return self

    def describe(self) -> str:
        """Nothing to say."""
        return "same"


@dataclass(frozen=True, slots=True, eq=False)
class Take(ValueMap):
    """Some slices along an axis, in the given order: what pruning keeps.

    Attributes:
        axis: the axis; negative counts from the end.
        index: which slices, in their new order.
        size: how many there were.
    """

    axis: int
    index: tuple[int, ...]
    size: int

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """`old[..., index, ...]`."""
        array = _only(arrays)
        _check(array.shape[self.axis] == self.size, f"axis {self.axis} has {array.shape[self.axis]} slices, not {self.size}")
        return array.take(np.asarray(self.index, dtype=np.intp), axis=self.axis)

    def inverse(self) -> ValueMap | None:
        """The order before, where every slice was kept."""
        if sorted(self.index) != list(range(self.size)):
            return None
        return Take(self.axis, tuple(int(i) for i in np.argsort(self.index)), self.size)

    def put(self, array: np.ndarray, into: np.ndarray) -> np.ndarray:
        """A copy of an old array in which the kept slices have new contents: write-back to a model that was pruned.

        Args:
            array: what `apply` gave, perhaps changed since.
            into: the old array.
        """
        result = into.copy()
        np.moveaxis(result, self.axis, 0)[list(self.index)] = np.moveaxis(array, self.axis, 0)
        return result

    def describe(self) -> str:
        """How many of how many."""
        if sorted(self.index) == list(range(self.size)):
            return f"reorder axis {self.axis}"
        return f"take axis {self.axis} keep {len(self.index)} of {self.size}"


@dataclass(frozen=True, slots=True, eq=False)
class Permute(ValueMap):
    """Axes in another order: new axis `i` is old axis `perm[i]`."""

    perm: tuple[int, ...]

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """`old.transpose(perm)`."""
        array = _only(arrays)
        _check(array.ndim == len(self.perm), f"{array.ndim} axes, not {len(self.perm)}")
        return array.transpose(self.perm)

    def inverse(self) -> ValueMap:
        """The order before."""
        return Permute(tuple(int(i) for i in np.argsort(self.perm)))

    def describe(self) -> str:
        """The permutation."""
        return f"permute {list(self.perm)}"


@dataclass(frozen=True, slots=True, eq=False)
class Reshape(ValueMap):
    """Another shape for the same elements in the same order.

    Attributes:
        shape: the new shape; one dimension may be -1.
        before: the old shape, likewise; without it there is no way back.
    """

    shape: tuple[int, ...]
    before: tuple[int, ...] | None = None

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """`old.reshape(shape)`."""
        return _only(arrays).reshape(self.shape)

    def inverse(self) -> ValueMap | None:
        """The shape before, where known."""
        return None if self.before is None else Reshape(self.before, self.shape)

    def describe(self) -> str:
        """The new shape."""
        return f"reshape {list(self.shape)}"


@dataclass(frozen=True, slots=True, eq=False)
class Affine(ValueMap):
    """`old · scale + shift`, element by element; scale and shift broadcast against the array and do not enlarge it.

    Folding a BatchNormalization into a convolution, a scale into a MatMul, or a bias correction are of this kind.
    """

    scale: float | np.ndarray = 1.0
    shift: float | np.ndarray = 0.0

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """`old · scale + shift`, in the old array's type."""
        array = _only(arrays)
        result = array * self.scale + self.shift
        _check(result.shape == array.shape, f"scale or shift enlarge {array.shape} to {result.shape}")
        return result.astype(array.dtype, copy=False)

    def inverse(self) -> ValueMap | None:
        """`(new − shift) / scale`, where no scale is zero."""
        scale = np.asarray(self.scale, dtype=np.float64)
        if not np.all(np.isfinite(scale)) or np.any(scale == 0):
            return None
        return Affine(_plain(1.0 / scale), _plain(-np.asarray(self.shift, dtype=np.float64) / scale))

    def describe(self) -> str:
        """What is multiplied and added."""
        scaled = f"scale by {_brief(self.scale)}" if _differs(self.scale, 1.0) else ""
        shifted = f"shift by {_brief(self.shift)}" if _differs(self.shift, 0.0) else ""
        return " ".join(filter(None, (scaled, shifted))) or "same"


@dataclass(frozen=True, slots=True, eq=False)
class Cast(ValueMap):
    """Another element type; with a scale, quantization: `clip(round(old / scale) + zero_point)` (ONNX QuantizeLinear).

    Attributes:
        dtype: name of the new type, as numpy or ml_dtypes call it (`int8`, `float16`, `uint4`).
        before: name of the old type, where known.
        scale: one number, a vector along `axis`, or, with `block_size`, an array with one scale a block of the axis.
        zero_point: in the scale's shape.
        axis: what the scales lie along.
        block_size: slices of the axis that share a scale; 0 for one scale a slice.
    """

    dtype: str
    before: str | None = None
    scale: float | np.ndarray | None = None
    zero_point: int | np.ndarray = 0
    axis: int | None = None
    block_size: int = 0

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """The array in its new type."""
        array = _only(arrays)
        target = _dtype(self.dtype)
        if self.scale is None:
            return array.astype(target)
        scale, zero_point = self._parameters(array)
        low, high = _range(self.dtype)
        return np.clip(np.rint(array / scale) + zero_point, low, high).astype(target)

    def inverse(self) -> ValueMap | None:
        """The type before, where the new one holds all of its values and nothing was scaled."""
        if self.scale is not None or self.before is None or not np.can_cast(_dtype(self.before), _dtype(self.dtype), "safe"):
            return None
        return Cast(self.before, self.dtype)

    def reconstruct(self, array: np.ndarray) -> np.ndarray:
        """What the quantized numbers stand for: `(new − zero_point) · scale` (ONNX DequantizeLinear)."""
        target = _dtype(self.before or "float32")
        if self.scale is None:
            return array.astype(target)
        scale, zero_point = self._parameters(array)
        return ((array.astype(np.float64) - zero_point) * scale).astype(target)

    def _parameters(self, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._spread(self.scale, array), self._spread(self.zero_point, array)

    def _spread(self, parameter: float | np.ndarray | None, array: np.ndarray) -> np.ndarray:
        """A scale or zero point in a shape that broadcasts against the array."""
        values = np.asarray(parameter, dtype=np.float64)
        if values.ndim == 0 or self.axis is None:
            return values
        if self.block_size:
            return values.repeat(self.block_size, axis=self.axis).take(range(array.shape[self.axis]), axis=self.axis)
        shape = [1] * array.ndim
        shape[self.axis] = -1
        return values.reshape(shape)

    def describe(self) -> str:
        """The type, and how it is scaled."""
        if self.scale is None:
            return f"cast to {self.dtype}"
        if np.ndim(self.scale) == 0:
            return f"quantize to {self.dtype} scale {_brief(self.scale)}"
        grain = f"blocks of {self.block_size} along" if self.block_size else "per"
        return f"quantize to {self.dtype} {grain} axis {self.axis}"


@dataclass(frozen=True, slots=True, eq=False)
class Concat(ValueMap):
    """Several arrays one after the other along an axis.

    Attributes:
        axis: the axis; negative counts from the end.
        sizes: how long each is along it.
    """

    axis: int
    sizes: tuple[int, ...]

    @property
    def arity(self) -> int:
        """As many as there are sizes."""
        return len(self.sizes)

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """`concatenate(arrays, axis)`."""
        found = tuple(array.shape[self.axis] for array in arrays)
        _check(found == self.sizes, f"axis {self.axis} of the arrays is {found} long, not {self.sizes}")
        return np.concatenate(arrays, axis=self.axis)

    def invert(self, array: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        """The arrays again."""
        _check(array.shape[self.axis] == sum(self.sizes), f"axis {self.axis} is {array.shape[self.axis]} long, not {sum(self.sizes)}")
        parts = tuple(np.split(array, np.cumsum(self.sizes)[:-1], axis=self.axis))
        return parts if len(parts) > 1 else array

    def describe(self) -> str:
        """The axis."""
        return f"concat axis {self.axis}"


@dataclass(frozen=True, slots=True, eq=False)
class Split(ValueMap):
    """One of the parts into which an array is cut along an axis; the parts together, and only they, are the array.

    Attributes:
        axis: the axis; negative counts from the end.
        sizes: how long each part is along it.
        part: which one, from 0.
    """

    axis: int
    sizes: tuple[int, ...]
    part: int

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """The part."""
        array = _only(arrays)
        _check(array.shape[self.axis] == sum(self.sizes), f"axis {self.axis} is {array.shape[self.axis]} long, not {sum(self.sizes)}")
        start = sum(self.sizes[: self.part])
        place = [slice(None)] * array.ndim
        place[self.axis] = slice(start, start + self.sizes[self.part])
        return array[tuple(place)]

    def inverse(self) -> ValueMap | None:
        """Nothing to do, where there is one part only."""
        return Same() if len(self.sizes) == 1 else None

    def describe(self) -> str:
        """Which part of how many."""
        return f"part {self.part + 1} of {len(self.sizes)} of axis {self.axis}"


@dataclass(frozen=True, slots=True, eq=False)
class Factor(ValueMap):
    """One of two factors of a matrix: W ≈ U V, W: [m, n], U: [m, rank], V: [rank, n].

    Without projections the factors are those of the truncated singular value decomposition, U = U_r Σ_r and V = V_rᵀ, each pair of
    singular vectors signed so that V's largest entry is positive. A pass that factorizes otherwise gives the projections
    that lead from W to its factor: `left @ W @ right`.

    Attributes:
        part: which factor.
        rank: the inner dimension.
        left: [k, m] or None.
        right: [n, k] or None.
    """

    part: Literal["u", "v"]
    rank: int
    left: np.ndarray | None = None
    right: np.ndarray | None = None

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """The factor."""
        array = _only(arrays)
        _check(array.ndim == 2, f"{array.ndim} axes; only matrices have factors")
        matrix = array.astype(np.float64)
        if self.left is None and self.right is None:
            factor = _svd_factors(matrix, self.rank)[0 if self.part == "u" else 1]
            return factor.astype(array.dtype)
        if self.left is not None:
            matrix = self.left @ matrix
        if self.right is not None:
            matrix = matrix @ self.right
        return matrix.astype(array.dtype)

    def describe(self) -> str:
        """Which factor, of what rank."""
        return f"take {self.part.upper()} rank {self.rank}"


@dataclass(frozen=True, slots=True, eq=False)
class Merge(ValueMap):
    """The product of two factors: U V, U: [m, rank], V: [rank, n]."""

    @property
    def arity(self) -> int:
        """Two factors."""
        return 2

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """`u @ v`."""
        u, v = arrays
        return u @ v

    def describe(self) -> str:
        """A product."""
        return "product"


@dataclass(frozen=True, slots=True, eq=False)
class Gone(ValueMap):
    """The value is no longer there; whatever follows, it stays gone."""

    why: str = ""

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """There is nothing to give."""
        del arrays
        raise ValueError(f"the value is gone{f': {self.why}' if self.why else ''}")

    def describe(self) -> str:
        """Gone, and why."""
        return f"gone: {self.why}" if self.why else "gone"


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
        return _chain(known) if len(known) == len(backwards) else None

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
        _check(len(arrays) == self.arity, f"{len(arrays)} arrays given, {self.arity} taken")
        given = iter(arrays)
        return self.outer.apply(*(inner.apply(*(next(given) for _ in range(inner.arity))) for inner in self.inners))

    def invert(self, array: np.ndarray) -> tuple[np.ndarray, ...] | None:
        """All the old arrays, where each map has a way back."""
        return self._back(array, lambda link, result: link.invert(result))

    def reconstruct(self, array: np.ndarray) -> tuple[np.ndarray, ...] | None:
        """All the old arrays, as nearly as can be told."""
        return self._back(array, lambda link, result: link.reconstruct(result))

    def _back(self, array: np.ndarray, step: _Step) -> tuple[np.ndarray, ...] | None:
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
    _check(len(inners) == outer.arity, f"{len(inners)} maps for {outer.arity} arrays")
    gone = next((inner for inner in inners if isinstance(inner, Gone)), None)
    if gone is not None:
        return gone
    if len(inners) == 1:
        return inners[0].then(outer)
    return outer if all(isinstance(inner, Same) for inner in inners) else Joined(outer, tuple(inners))


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


# ---- composition ----------------------------------------------------------------------------------------------------

_Step: TypeAlias = Callable[[ValueMap, np.ndarray], "np.ndarray | tuple[np.ndarray, ...] | None"]


def _links(value_map: ValueMap) -> tuple[ValueMap, ...]:
    return value_map.maps if isinstance(value_map, Chain) else (value_map,)


def _chain(links: Sequence[ValueMap]) -> ValueMap:
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
        return not _differs(link.scale, 1.0) and not _differs(link.shift, 0.0)
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
    return Affine(_plain(scale), _plain(shift))


_MERGES: Mapping[type[ValueMap], Callable[[ValueMap, ValueMap], ValueMap | None]] = {
    Take: _merge_takes,
    Permute: _merge_permutes,
    Reshape: _merge_reshapes,
    Affine: _merge_affines,
}


def _backwards(maps: Sequence[ValueMap], array: np.ndarray, step: _Step) -> np.ndarray | tuple[np.ndarray, ...] | None:
    result: np.ndarray | tuple[np.ndarray, ...] | None = array
    for link in reversed(maps):
        if not isinstance(result, np.ndarray):
            return None
        result = step(link, result)
    return result


# ---- arrays and JSON ------------------------------------------------------------------------------------------------


def _svd_factors(matrix: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    signs = np.sign(vt[np.arange(len(vt)), np.abs(vt).argmax(axis=1)])
    signs[signs == 0] = 1
    return (u * s * signs)[:, :rank], (vt * signs[:, None])[:rank]


def _only(arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    _check(len(arrays) == 1, f"{len(arrays)} arrays given, 1 taken")
    return arrays[0]


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


def _plain(array: np.ndarray) -> float | np.ndarray:
    return float(array) if array.ndim == 0 else array


def _differs(number: float | np.ndarray, neutral: float) -> bool:
    return bool(np.any(np.asarray(number) != neutral)) or np.ndim(number) > 0


def _brief(number: float | np.ndarray | None) -> str:
    if number is None or np.ndim(number) == 0:
        return f"{float(cast('float', number)):.6g}"
    return f"array {list(np.shape(number))}"


def _dtype(name: str) -> np.dtype:
    """A numpy type by name; ml_dtypes' by theirs."""
    return np.dtype(onnx_ir.DataType[_ONNX_NAMES.get(name, name.upper())].numpy())


_ONNX_NAMES: Mapping[str, str] = {"float32": "FLOAT", "float64": "DOUBLE", "str": "STRING", "object": "STRING"}


def _range(name: str) -> tuple[int, int]:
    signed = not name.startswith("u")
    bits = int("".join(filter(str.isdigit, name)))
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def _to_json(value: object) -> Json:
    if isinstance(value, np.ndarray):
        return _array_to_json(cast("np.ndarray", value))
    if isinstance(value, tuple):
        return [_to_json(item) for item in cast("tuple[object, ...]", value)]
    if isinstance(value, np.generic):
        return cast("Json", value.item())
    return cast("Json", value)


def _array_to_json(array: np.ndarray) -> Json:
    shape: list[Json] = [int(size) for size in array.shape]
    data: list[Json] = [float(element) for element in array.astype(np.float64).reshape(-1)]
    return {"dtype": str(array.dtype), "shape": shape, "data": data}


def _from_json(value: Json) -> object:
    if isinstance(value, dict):
        shape = tuple(cast("list[int]", value["shape"]))
        return np.asarray(value["data"], dtype=np.float64).astype(str(value["dtype"])).reshape(shape)
    return tuple(value) if isinstance(value, list) else value


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
    return make(**{name: _from_json(value) for name, value in data.items() if name != "kind"})
