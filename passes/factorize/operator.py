"""What is factorized, as numbers alone: a weight in a fixed layout, and what is known of its inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["linear", "conv", "deconv", "table", "recurrent", "state"]
"""A product; a convolution; a transposed one; rows looked up; the weights of a recurrent layer that its input, or its state, meets."""


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """A linear operator y = W x at every place, and the second moment of x.

    Layouts of the weight, float64:

    | kind | layout |
    |---|---|
    | linear, recurrent | [outputs, inputs]; of a recurrent layer the outputs are all gates' of all directions, in ONNX's order |
    | table | [features, entries]: the transpose of the stored table, whose input is one-hot |
    | conv | [outputs, inputs / groups, *kernel] |
    | deconv | [inputs, outputs / groups, *kernel] |
    | state | [groups · outputs, inputs], a group for each direction |

    Attributes:
        kind: of operator.
        weight: in its layout.
        groups: of channels that do not see each other.
        second: second moment E[x xᵀ] (or covariance, where the mean is made up for elsewhere) of what a place sees, in the order of
            `weight[output].reshape(-1)`, taps of a channel side by side: [groups, features, features]; or, of convolutions with too many
            features and of deconv, of the channels alone, [groups, channels, channels], taken to be the same and independent at all taps.
            None where nothing is known: then all inputs count alike.
        scales: like `second`, where it is diagonal: [groups, features]. At most one of the two is given.
    """

    kind: Kind
    weight: np.ndarray
    groups: int = 1
    second: np.ndarray | None = None
    scales: np.ndarray | None = None

    @property
    def kernel(self) -> tuple[int, ...]:
        """Taps along each spatial axis; none of a product."""
        return self.weight.shape[2:]

    @property
    def taps(self) -> int:
        """Taps of all axes."""
        return math.prod(self.kernel)

    def matrices(self, weight: np.ndarray | None = None) -> np.ndarray:
        """The weight, or another of its layout, as [groups, outputs / groups, features]; of deconv [groups, outputs · taps, channels]."""
        array = self.weight if weight is None else weight
        if self.kind == "deconv":
            grouped = array.reshape(self.groups, array.shape[0] // self.groups, -1)
            return np.swapaxes(grouped, 1, 2)
        return array.reshape(self.groups, array.shape[0] // self.groups, -1)

    def weighed(self, rows: np.ndarray) -> np.ndarray:
        """R · E[x xᵀ] for R: [groups, any, features], the same shape."""
        if self.scales is not None:
            return rows * self.scales[:, None, :]
        if self.second is None:
            return rows
        channels = self.second.shape[-1]
        if channels == rows.shape[-1]:
            return rows @ self.second
        apart = rows.reshape(*rows.shape[:2], channels, -1)  # channels alone are known: the same at each tap
        flat = np.swapaxes(apart, 2, 3).reshape(len(rows), -1, channels)
        return np.swapaxes((flat @ self.second).reshape(*apart.shape[:2], -1, channels), 2, 3).reshape(rows.shape)

    def gram(self, weight: np.ndarray | None = None) -> np.ndarray:
        """E[y yᵀ] of each group, [groups, outputs / groups, outputs / groups] (of deconv with taps), for the weight or another."""
        rows = self.matrices(weight)
        return self.weighed(rows) @ np.swapaxes(rows, 1, 2)

    def energy(self, weight: np.ndarray | None = None) -> float:
        """E|y|² at a place: tr(W E[x xᵀ] Wᵀ), for the weight, or for another of its layout such as a difference."""
        rows = self.matrices(weight)
        return float(np.einsum("gof,gof->", self.weighed(rows), rows))
