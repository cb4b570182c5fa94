"""What smoothing learns of activations: ranges of channels by batch, and some rows, half of which judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from netwright.passes.statistics import places

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Executor, Feeds

ROWS = 64
"""Rows that are kept of each batch."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One activation.

    Attributes:
        low: of each batch the smallest value of each channel, at most 0, [batches, channels].
        high: the largest, at least 0.
        power: mean square, [channels].
        rows: some of each batch, [batches] of [rows, channels], float32.
    """

    low: np.ndarray
    high: np.ndarray
    power: np.ndarray
    rows: tuple[np.ndarray, ...]

    @property
    def finite(self) -> bool:
        """False where a NaN or an infinity was seen."""
        return bool(np.isfinite(self.low).all() and np.isfinite(self.high).all() and np.isfinite(self.power).all())

    @property
    def peaks(self) -> np.ndarray:
        """The largest absolute value of each channel, [channels]."""
        return np.maximum(self.high, -self.low).max(axis=0)


def look(program: Program, executor: Executor, batches: Iterable[Feeds], names: Sequence[str], seed: int) -> Mapping[str, Seen]:
    """Run batches and look at values; those without elements, or of rank 0, are left out.

    Args:
        program: left as it is.
        executor: runs it.
        batches: feeds.
        names: of float values of the main graph.
        seed: of the draw of rows.
    """
    lows: dict[str, list[np.ndarray]] = {}
    highs: dict[str, list[np.ndarray]] = {}
    powers: dict[str, list[np.ndarray]] = {}
    rows: dict[str, list[np.ndarray]] = {}
    for number, feeds in enumerate(batches if names else ()):
        for name, array in executor.run(program, feeds, names).items():
            if array.ndim == 0 or array.size == 0:
                continue
            flat = array.reshape(-1, array.shape[-1])
            lows.setdefault(name, []).append(np.minimum(flat.min(axis=0), 0).astype(np.float64))
            highs.setdefault(name, []).append(np.maximum(flat.max(axis=0), 0).astype(np.float64))
            powers.setdefault(name, []).append(np.einsum("ij,ij->j", flat, flat, dtype=np.float64) / len(flat))
            rows.setdefault(name, []).append(flat[places(len(flat), ROWS, [seed, number])].astype(np.float32))
    return {
        name: Seen(np.stack(lows[name]), np.stack(highs[name]), np.mean(powers[name], axis=0), tuple(rows[name]))
        for name in lows
        if len({low.shape for low in lows[name]}) == 1
    }
