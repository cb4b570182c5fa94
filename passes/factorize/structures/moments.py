"""Second moments of parts of the input, taken from what is known of the whole."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from netwright.passes.factorize.operator import Operator


def channel_moment(operator: Operator) -> np.ndarray | None:
    """E[x xᵀ] of the channels of a convolution without groups, the mean over its taps, [I, I]; None where nothing is known."""
    channels = operator.weight.shape[1]
    if operator.scales is not None:
        return np.diag(operator.scales[0].reshape(channels, -1).mean(axis=1))
    if operator.second is None:
        return None
    if operator.second.shape[-1] == channels:
        return operator.second[0]
    taps = operator.taps
    return np.einsum("itjt->ij", operator.second[0].reshape(channels, taps, channels, taps)) / taps


def column_moment(operator: Operator) -> np.ndarray | None:
    """E[x xᵀ] of what one column of an image kernel [O, I, kh, kw] sees, the mean over its columns, [I · kh, I · kh]; None: unknown."""
    _, channels, height, width = operator.weight.shape
    if operator.scales is not None:
        return np.diag(operator.scales[0].reshape(channels * height, width).mean(axis=1))
    if operator.second is None:
        return None
    if operator.second.shape[-1] == channels and operator.taps > 1:
        return np.einsum("ij,ab->iajb", operator.second[0], np.eye(height)).reshape(channels * height, -1)
    column = operator.second[0].reshape(channels * height, width, channels * height, width)
    return np.einsum("iwjw->ij", column) / width


def mode_moments(operator: Operator, sizes: Sequence[int]) -> list[np.ndarray] | None:
    """C₁, C₂, … with C₁ ⊗ C₂ ⊗ … near E[x xᵀ], for inputs seen as an array of these sizes: partial traces, the product's trace being C's.

    None where nothing is known.
    """
    if operator.scales is not None:
        total = float(operator.scales.sum())
        apart = operator.scales[0].reshape(sizes)
        sums = [apart.sum(axis=tuple(other for other in range(len(sizes)) if other != axis)) for axis in range(len(sizes))]
        traced = [np.diag(each) for each in sums]
    elif operator.second is not None:
        total = float(np.trace(operator.second[0]))
        traced = [_partial(operator.second[0], sizes, axis) for axis in range(len(sizes))]
    else:
        return None
    if total <= 0:
        return None
    share = float(total ** (1 / len(sizes) - 1))
    return [each * share for each in traced]


def _partial(second: np.ndarray, sizes: Sequence[int], axis: int) -> np.ndarray:
    before, size, after = math.prod(sizes[:axis]), sizes[axis], math.prod(sizes[axis + 1 :])
    return np.einsum("aibajb->ij", second.reshape(before, size, after, before, size, after))
