"""What is known of one axis of a value: labels that may go, or why its size is fixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from netwright.ir.coupling.units import Labels
from netwright.ir.dims import Dim, as_dim, dims_equal, multiply


@dataclass(frozen=True, slots=True)
class Fixed:
    """An axis along which nothing can go, and why, as the end of a sentence."""

    why: str


@dataclass(frozen=True, slots=True, eq=False)
class Tracked:
    """An axis whose indices have labels.

    Index k of the axis has label `labels[(k // inner) % len(labels)]`: `outer` and `inner` are the dimensions that a reshape has
    merged in front of and behind the labelled ones. Known sizes are multiplied out into `labels`, so that only symbolic ones remain.
    Labels are `weak` where no layer made them (slices that were repeated or stacked): others go before them.
    """

    labels: Labels
    outer: Dim = 1
    inner: Dim = 1
    weak: bool = False

    @property
    def plain(self) -> bool:
        """True where each index has a label of its own place in `labels`."""
        return isinstance(self.outer, int) and isinstance(self.inner, int)

    def like(self, other: Tracked) -> bool:
        """True where both have as many labels, in the same places."""
        return len(self.labels) == len(other.labels) and _same(self.outer, other.outer) and _same(self.inner, other.inner)


Axis: TypeAlias = Fixed | Tracked

ONE = Fixed("it has size 1")
SPATIAL = Fixed("it is a spatial axis")
DYNAMIC = Fixed("its size is not known")


def _same(a: Dim, b: Dim) -> bool:
    return (isinstance(a, int) and a == b) or dims_equal(a, b)


def around(labels: Labels, outer: Dim, inner: Dim) -> Tracked:
    """Labels with `outer` repetitions of the whole and `inner` of each; what is known is multiplied out."""
    outer, inner = as_dim(outer), as_dim(inner)
    if isinstance(inner, int) and inner != 1:
        labels, inner = np.repeat(labels, inner), 1
    if isinstance(outer, int) and outer != 1 and isinstance(inner, int):
        labels, outer = np.tile(labels, outer), 1
    return Tracked(labels, outer, inner)


def size_of(axis: Tracked) -> Dim:
    """The axis's size."""
    return multiply(multiply(axis.outer, axis.inner), len(axis.labels))
