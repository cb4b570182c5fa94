"""Maps that move, keep or drop elements and leave them as they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netwright.ir.maps.base import ValueMap, check, only


@dataclass(frozen=True, slots=True, eq=False)
class Same(ValueMap):
    """The value is what it was, perhaps under another name."""

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """The array itself."""
        return only(arrays)

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
        array = only(arrays)
        check(array.shape[self.axis] == self.size, f"axis {self.axis} has {array.shape[self.axis]} slices, not {self.size}")
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
        array = only(arrays)
        check(array.ndim == len(self.perm), f"{array.ndim} axes, not {len(self.perm)}")
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
        return only(arrays).reshape(self.shape)

    def inverse(self) -> ValueMap | None:
        """The shape before, where known."""
        return None if self.before is None else Reshape(self.before, self.shape)

    def describe(self) -> str:
        """The new shape."""
        return f"reshape {list(self.shape)}"


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
        check(found == self.sizes, f"axis {self.axis} of the arrays is {found} long, not {self.sizes}")
        return np.concatenate(arrays, axis=self.axis)

    def invert(self, array: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        """The arrays again."""
        check(array.shape[self.axis] == sum(self.sizes), f"axis {self.axis} is {array.shape[self.axis]} long, not {sum(self.sizes)}")
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
        array = only(arrays)
        check(array.shape[self.axis] == sum(self.sizes), f"axis {self.axis} is {array.shape[self.axis]} long, not {sum(self.sizes)}")
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
