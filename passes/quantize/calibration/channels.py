"""What calibration keeps of an activation's channels."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from netwright.ir.errors import DataError
from netwright.passes.quantize.calibration.tensors import as_floats


@dataclass(slots=True, eq=False)
class ChannelStatistics:
    """Sums and ranges along one axis, streamed in float64.

    Attributes:
        axis: the axis of the channels, as it was given (it may be negative).
        count: elements of each channel.
        low, high: the least and largest element of each channel, [channels]; empty before the first array.
        total: sum of each channel, [channels].
        squares: sum of squares of each channel, [channels].
    """

    axis: int
    count: int = 0
    low: np.ndarray = field(default_factory=lambda: np.zeros(0))
    high: np.ndarray = field(default_factory=lambda: np.zeros(0))
    total: np.ndarray = field(default_factory=lambda: np.zeros(0))
    squares: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def add(self, values: np.ndarray, name: str) -> None:
        """Count an array in; `name` is for errors.

        Raises:
            DataError: it has no such axis, or another number of channels than before.
        """
        if not -values.ndim <= self.axis < values.ndim:
            raise DataError(f"%{name} has {values.ndim} dimensions, and so no axis {self.axis}.", place=name, remedy="Name another axis.")
        if not values.size:
            return
        rows = _channels_last(as_floats(values), self.axis)
        low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
        total, squares = rows.sum(axis=0, dtype=np.float64), np.einsum("ij,ij->j", rows, rows, dtype=np.float64)
        if not self.count:
            self.low, self.high, self.total, self.squares = low, high, total, squares
        elif low.shape != self.low.shape:
            raise DataError(
                f"%{name} has {low.size} channels along axis {self.axis}, and had {self.low.size} before.",
                place=name,
                remedy="Name an axis whose size does not change.",
            )
        else:
            self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
            self.total, self.squares = self.total + total, self.squares + squares
        self.count += rows.shape[0]

    @property
    def finite(self) -> bool:
        """False where NaN or infinities were seen."""
        return bool(np.isfinite(self.total).all() and np.isfinite(self.squares).all())

    @property
    def absmax(self) -> np.ndarray:
        """Largest absolute value of each channel, [channels]."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def mean(self) -> np.ndarray:
        """Mean of each channel, [channels]."""
        return self.total / max(1, self.count)

    @property
    def power(self) -> np.ndarray:
        """Mean square of each channel, [channels]."""
        return self.squares / max(1, self.count)


def _channels_last(values: np.ndarray, axis: int) -> np.ndarray:
    """[elements of a channel, channels]; a copy where the axis is not the last."""
    moved = values if axis in (-1, values.ndim - 1) else np.moveaxis(values, axis, -1)
    return moved.reshape(-1, moved.shape[-1])
