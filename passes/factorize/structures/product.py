"""A chain of stages multiplied out."""

from __future__ import annotations

import math

import numpy as np

from netwright.passes.factorize.factors import Factors, Stage
from netwright.passes.factorize.operator import Operator
from netwright.passes.factorize.structures.folds import folded_product


def product(factors: Factors, operator: Operator) -> np.ndarray:
    """The weight Ŵ that a chain amounts to, in the layout of the operator that it stands for.

    Args:
        factors: the chain.
        operator: what it replaces; its layout and groups are read, its numbers are not.

    Raises:
        ValueError: two stages have several taps along the same axis: their product is larger than the kernel.
    """
    if all(stage.dims for stage in factors.stages) and (folded := folded_product(factors)) is not None:
        return folded.reshape(operator.weight.shape)
    flow: np.ndarray | None = None
    for stage in factors.stages:
        flow = _through(stage, flow, operator)
    assert flow is not None
    if factors.dims:
        entries = flow.shape[2]
        flow = flow.reshape(*factors.dims, entries).transpose(*factors.perm, len(factors.dims)).reshape(1, -1, entries)
    if operator.kind == "deconv":
        flow = np.swapaxes(flow, 1, 2)
    return np.ascontiguousarray(flow.reshape(operator.weight.shape))


def _through(stage: Stage, flow: np.ndarray | None, operator: Operator) -> np.ndarray:
    """What one more stage makes of responses to unit inputs, [groups, channels, inputs / groups, *taps]; None: of the inputs themselves."""
    array = _grouped(stage, len(operator.kernel))
    if flow is None and stage.groups == operator.groups and not stage.dims:
        return array
    if flow is None:
        flow = _unit(_inputs(operator), operator)
    if stage.dims:
        return _folded(stage, flow)
    inner, outputs, inputs = operator.groups, array.shape[1], array.shape[2]
    before, after = flow.shape[3:], array.shape[3:]
    if any(one > 1 and other > 1 for one, other in zip(before, after, strict=True)):
        raise ValueError(f"stages with {before} and {after} taps do not multiply to a kernel")
    left = np.moveaxis(array.reshape(inner, -1, outputs, inputs, math.prod(after)), 3, 4).reshape(
        inner, -1, outputs * math.prod(after), inputs
    )
    right = flow.reshape(inner, -1, inputs, flow.shape[2] * math.prod(before))
    through = (left @ right).reshape(inner, -1, outputs, *after, flow.shape[2], *before)
    taps = len(after)
    pairs = [axis for tap in range(taps) for axis in (3 + tap, 4 + taps + tap)]
    kernel = [one * other for one, other in zip(before, after, strict=True)]
    return through.transpose(0, 1, 2, 3 + taps, *pairs).reshape(inner, -1, flow.shape[2], *kernel)


def _grouped(stage: Stage, axes: int) -> np.ndarray:
    """A stage's array as [groups, outputs / groups, inputs / groups, *taps]."""
    array = stage.array.reshape(stage.groups, -1, *stage.array.shape[1:])
    array = np.swapaxes(array, 1, 2) if stage.transposed else array
    return array if array.ndim == 3 + axes else array.reshape(*array.shape, *[1] * axes)


def _inputs(operator: Operator) -> int:
    return operator.weight.shape[0] // operator.groups if operator.kind == "deconv" else operator.weight.shape[1]


def _unit(channels: int, operator: Operator) -> np.ndarray:
    unit = np.eye(channels).reshape(channels, channels, *[1] * len(operator.kernel))
    return np.broadcast_to(unit, (operator.groups, *unit.shape))


def _folded(stage: Stage, flow: np.ndarray) -> np.ndarray:
    """A stage on folded channels, [1, channels, entries] → [1, channels', entries]."""
    entries, inputs = flow.shape[2], stage.array.shape[1]
    ordered = flow.reshape(*stage.dims, entries).transpose(*stage.perm, len(stage.dims)).reshape(-1, inputs, entries)
    return (stage.array @ ordered).reshape(1, -1, entries)
