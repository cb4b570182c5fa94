"""Which rows of a run an operator is applied to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from netwright.passes.statistics.feeds import places
from netwright.passes.statistics.seen import Seen
from netwright.passes.statistics.windows import Window

Found = Mapping[str, np.ndarray]
"""Values of one run, by name."""


@dataclass(frozen=True, slots=True)
class View(ABC):
    """Rows that an operator sees. Views that are equal see the same.

    Attributes:
        data: name of the value.
        groups: of channels.
    """

    data: str
    groups: int

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the values that it reads."""
        return (self.data,)

    @abstractmethod
    def count(self, found: Found, into: Seen, most: int, seed: list[int]) -> None:
        """Count in what one run shows, of at most so many rows, drawn evenly."""


class Rows(View):
    """Rows that are summed up."""

    __slots__ = ()

    @abstractmethod
    def rows(self, found: Found, most: int, seed: list[int]) -> np.ndarray:
        """At most so many of them, drawn evenly, [groups, rows, features], in the order of `Operator.second`."""

    def count(self, found: Found, into: Seen, most: int, seed: list[int]) -> None:
        """Sum the rows up."""
        into.add(self.rows(found, most, seed))


@dataclass(frozen=True, slots=True)
class Channels(Rows):
    """All positions, each with its channels.

    Attributes:
        axis: of the data, along which channels lie.
    """

    axis: int = -1

    def rows(self, found: Found, most: int, seed: list[int]) -> np.ndarray:
        """Channels, by group."""
        x = np.moveaxis(found[self.data], self.axis, -1) if found[self.data].ndim > 1 else found[self.data]
        flat = x.reshape(-1, x.shape[-1])
        drawn = flat[places(len(flat), most, seed)]
        return np.moveaxis(drawn.reshape(len(drawn), self.groups, -1), 1, 0)


@dataclass(frozen=True, slots=True)
class Patches(Rows):
    """What each output position of a convolution sees.

    Attributes:
        output: name of what the convolution makes.
        window: its geometry.
    """

    output: str
    window: Window

    @property
    def wanted(self) -> tuple[str, ...]:
        """The data, and the output for its shape."""
        return (self.data, self.output)

    def rows(self, found: Found, most: int, seed: list[int]) -> np.ndarray:
        """Patches, taps of a channel side by side."""
        x, y = found[self.data], found[self.output]
        size = y.shape[2:]
        chosen = places(y.shape[0] * int(np.prod(size)), most, seed)
        patches = self.window.patches(x, size, chosen)  # [chosen, taps, channels]
        grouped = patches.reshape(len(chosen), patches.shape[1], self.groups, -1)
        return np.ascontiguousarray(grouped.transpose(2, 0, 3, 1)).reshape(self.groups, len(chosen), -1)


@dataclass(frozen=True, slots=True)
class States(Rows):
    """The states that a recurrent layer goes on from, [sequence, directions, batch, hidden]: a group is a direction.

    The first step's state, which is not among the outputs, is left out.
    """

    def rows(self, found: Found, most: int, seed: list[int]) -> np.ndarray:
        """States but the last of each direction (of the backward one the first in time)."""
        y = found[self.data]
        parts = [(y[1:] if direction else y[:-1])[:, direction].reshape(-1, y.shape[-1]) for direction in range(y.shape[1])]
        chosen = places(len(parts[0]), most, seed)
        return np.stack([part[chosen] for part in parts])


@dataclass(frozen=True, slots=True)
class Entries(View):
    """Entries of a table that are looked up: one-hot rows, all of which are counted.

    Attributes:
        entries: how many there are.
    """

    entries: int = 0

    def count(self, found: Found, into: Seen, most: int, seed: list[int]) -> None:
        """How often each entry is looked up."""
        del most, seed
        indices = np.asarray(found[self.data]).reshape(-1).astype(np.int64)
        into.add_counts(np.bincount(np.where(indices < 0, indices + self.entries, indices), minlength=self.entries))
