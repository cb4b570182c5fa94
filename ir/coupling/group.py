"""Coupling groups: what must be removed together for the graph to stay valid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

Kind: TypeAlias = Literal["channels", "heads", "head_dim", "hidden", "experts"]
"""What the units of a group are.

`channels`: channels of convolutions, features of a residual stream. `heads`: attention heads (a key and value head with its query heads).
`head_dim`: one feature in every head. `hidden`: units of a recurrent layer, width of a feed-forward layer. `experts`: what a router
chooses among.
"""

Role: TypeAlias = Literal["out", "in", "scale", "shift", "other"]
"""What an axis of a weight does to its units.

`out`: it makes them (rows of a convolution, columns of a matrix, gates of a recurrent layer, width of an embedding). `scale` and `shift`:
it multiplies, or is added to, each (norm weights and biases, a layer's bias). `in`: it consumes them. `other`: it lies along them and
does neither (running statistics, slopes). Zeroing `out`, `scale` and `shift` makes a unit zero.
"""

PRODUCING: frozenset[Role] = frozenset({"out", "scale", "shift"})
"""Roles whose slices, all zero, make a unit zero."""


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """An axis of a weight that holds units of a group.

    Attributes:
        weight: name of the constant value.
        axis: which of its axes, from 0.
        role: what it does to the units.
        units: for each index along the axis the number of its unit in the group, -1 where the index belongs to another group. int32.
        nodes: sites of the nodes that read the weight.
    """

    weight: str
    axis: int
    role: Role
    units: np.ndarray
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ValueAxis:
    """An axis of an activation that holds units of a group; `units` as for a `Slice`."""

    value: str
    axis: int
    units: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """All that changes when units are removed: units of one group are ranked among themselves, and any of them can go.

    Attributes:
        name: the site of the first node that makes them, with `:heads` or `:experts` after it where they are. Stable while the graph is.
        module: the module path that the node came from, empty where unknown.
        kind: what the units are.
        size: how many there are.
        slices: axes of weights, in graph order.
        values: axes of activations, in graph order.
        frozen: why no unit can go, as a sentence; empty where units can go.
        inexact: why removing a unit is not the same as making it zero (a norm over the units, say); empty where it is.
        removable: which units can go, bool [size]: not all where a part of the group meets an input or output of the model.
        parts: sets of units of which one at least must stay, since some axis holds no other; mostly the one set of all.
        params: parameters that go with each unit, int64 [size]; a parameter that belongs to units of two groups counts in both.
        macs: multiply-accumulates that go with each unit at the program's default sizes, float64 [size]; likewise.
    """

    name: str
    module: str
    kind: Kind
    size: int
    slices: tuple[Slice, ...]
    values: tuple[ValueAxis, ...]
    frozen: str
    inexact: str
    removable: np.ndarray
    parts: tuple[np.ndarray, ...]
    params: np.ndarray
    macs: np.ndarray

    @property
    def site(self) -> str:
        """The site of the first node that makes the units: the name without what says of which kind they are."""
        return self.name.removesuffix(f":{self.kind}") if self.kind in ("heads", "experts") else self.name

    @property
    def producing(self) -> tuple[Slice, ...]:
        """The slices that make the units."""
        return tuple(found for found in self.slices if found.role in PRODUCING)

    @property
    def consuming(self) -> tuple[Slice, ...]:
        """The slices that consume them."""
        return tuple(found for found in self.slices if found.role == "in")


@dataclass(frozen=True, slots=True, eq=False)
class Coupling:
    """The coupling groups of a program, in graph order; frozen ones, with the reason, among them."""

    groups: tuple[Group, ...]

    def group(self, name: str) -> Group:
        """The group of this name.

        Raises:
            KeyError: there is none.
        """
        return {group.name: group for group in self.groups}[name]
