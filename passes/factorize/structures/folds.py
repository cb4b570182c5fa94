"""Stages on folded channels multiplied out, without the responses to every single input in between."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from netwright.passes.factorize.factors import Factors

_Axis = tuple[int, int]
"""Size of an axis of the channels, and the axis of the inputs that it still is; -1 where a stage made it."""


def folded_product(factors: Factors) -> np.ndarray | None:
    """Ŵ [m, n] of a chain that folds the channels alike in all stages, as trains of cores do; None of others.

    An axis of the inputs that no stage has read yet stays a name, so that no more is held than the product itself and the ranks.
    """
    sizes = factors.stages[0].dims
    axes: list[_Axis] = [(size, index) for index, size in enumerate(sizes)]
    made = np.ones(())  # axes: those of the channels that stages made, in order, and then the inputs that were read
    read: list[int] = []
    for stage in factors.stages:
        split = _split(axes, stage.dims)
        if split is None or len(stage.perm) != len(stage.dims):
            return None
        made = made.reshape([size for size, source in split if source < 0] + [sizes[index] for index in read])
        ordered = [split[axis] for axis in stage.perm]
        width, kept = 1, len(ordered)
        while width < stage.array.shape[1] and kept:
            kept -= 1
            width *= ordered[kept][0]
        if width != stage.array.shape[1]:
            return None
        positions = {axis: place for place, axis in enumerate(axis for axis, (_, source) in enumerate(split) if source < 0)}
        count = len(positions)
        lead = [positions[axis] for axis in stage.perm[:kept] if axis in positions]
        eaten = [positions[axis] for axis in stage.perm[kept:] if axis in positions]
        matrix = stage.array.reshape(-1, *(size for size, _ in ordered[kept:]))
        inner = [1 + place for place, axis in enumerate(stage.perm[kept:]) if axis in positions]
        joined = np.tensordot(made, matrix, axes=(eaten, inner)) if eaten else np.multiply.outer(made, matrix)
        # now: kept made axes, read inputs, the outputs, the inputs read just now
        rank = {place: position for position, place in enumerate(sorted(lead))}
        inputs = range(len(lead), len(lead) + made.ndim - count)
        output = len(lead) + made.ndim - count
        joined = joined.transpose([*(rank[place] for place in lead), output, *inputs, *range(output + 1, joined.ndim)])
        read += [source for _, source in ordered[kept:] if source >= 0]
        made, axes = joined, [*ordered[:kept], (matrix.shape[0], -1)]
    return _ordered(factors, made, axes, read, sizes)


def _split(axes: Sequence[_Axis], dims: Sequence[int]) -> list[_Axis] | None:
    """The channels' axes cut into finer ones of these sizes; None where that would cut an input's axis, or join two."""
    found: list[_Axis] = []
    sizes = list(dims)
    for size, source in axes:
        total = 1
        parts: list[_Axis] = []
        while sizes and (total < size or not parts):
            parts.append((sizes[0], source))
            total *= sizes.pop(0)
        if total != size or (source >= 0 and len(parts) > 1):
            return None
        found += parts
    return None if sizes and math.prod(sizes) != 1 else [*found, *((1, -1) for _ in sizes)]


def _ordered(factors: Factors, made: np.ndarray, axes: Sequence[_Axis], read: Sequence[int], sizes: Sequence[int]) -> np.ndarray | None:
    if sorted(read) != list(range(len(sizes))):
        return None
    outputs = math.prod(size for size, _ in axes)
    rows = made.reshape(outputs, *(sizes[index] for index in read)).transpose(0, *(1 + read.index(axis) for axis in range(len(sizes))))
    matrix = rows.reshape(outputs, -1)
    if not factors.dims:
        return matrix
    return matrix.reshape(*factors.dims, -1).transpose(*factors.perm, len(factors.dims)).reshape(outputs, -1)
