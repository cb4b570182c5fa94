"""What calibration keeps of one activation."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from netwright.passes.quantize.calibration.histogram import Histogram

HUGE = 1e30
"""From here on a number stands for infinity: masks are filled with -3.4e38, and no grid spans those and the rest."""

MEMORY = 0.01
"""Share that a batch has in the moving averages from the hundredth on; before, they are plain means."""


@dataclass(slots=True, eq=False)
class TensorStatistics:
    """Ranges of one activation, streamed.

    Attributes:
        batches: arrays counted in, empty ones left out.
        count: elements.
        infinite: elements that are NaN, infinite, or at least `HUGE`; they count nowhere else.
        low, high: the least and the largest element.
        moving_low, moving_high: means of each array's least and largest element, moving ones from the hundredth array on.
        histogram: of the elements, or evenly drawn ones.
    """

    batches: int = 0
    count: int = 0
    infinite: int = 0
    low: float = 0.0
    high: float = 0.0
    moving_low: float = 0.0
    moving_high: float = 0.0
    histogram: Histogram = field(default_factory=Histogram)

    def add(self, values: np.ndarray) -> None:
        """Count an array of floats in."""
        flat = as_floats(values).reshape(-1)
        self.count += flat.size
        if flat.size and not _spans(flat):
            kept = flat[np.abs(flat) < HUGE]  # false of NaN too
            self.infinite += flat.size - kept.size
            flat = kept
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        self.low, self.high = (min(self.low, low), max(self.high, high)) if self.batches else (low, high)
        self.batches += 1
        share = max(MEMORY, 1 / self.batches)
        self.moving_low += share * (low - self.moving_low)
        self.moving_high += share * (high - self.moving_high)
        self.histogram.add(flat, low, high)

    @property
    def constant(self) -> bool:
        """True where one number is all that was seen."""
        return self.low == self.high


def as_floats(values: np.ndarray) -> np.ndarray:
    """Types that numpy is slow or coarse in (float16, bfloat16, float8) as float32."""
    return values if values.dtype == np.float32 or values.dtype == np.float64 else values.astype(np.float32)


def _spans(flat: np.ndarray) -> bool:
    """True where all elements are finite numbers that a grid can span."""
    low, high = float(flat.min()), float(flat.max())
    return low > -HUGE and high < HUGE  # false of NaN, which min and max hand on
