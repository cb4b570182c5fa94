"""Products with computed weights: each sample writes matrices of its own, and an engine is prepared for each, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from netwright.backends.cim.engines.base import MvmCounts, Prepared


@dataclass(frozen=True, slots=True)
class Products:
    """What such products gave.

    Attributes:
        values: [samples · matrices, vectors, J].
        counts: what arrays did for them.
        engine: by which they were computed.
        why_slow: see `engines.base.Prepared`.
    """

    values: np.ndarray
    counts: MvmCounts
    engine: str
    why_slow: str


def multiply_each(
    x: np.ndarray, w: np.ndarray, prepare: Callable[[np.ndarray], Prepared], numbers: np.ndarray | None, *, fractions: bool = False
) -> Products:
    """Each sample's vectors times its matrices. One matrix is prepared at a time.

    Args:
        x: [samples or 1, ..., M, K].
        w: [samples or 1, ..., K, J]: leading axes those of x, or none: all vectors of a sample then go through its one matrix.
        prepare: makes an engine of a matrix [K, J].
        numbers: of all vectors, sample after sample; None for codings without noise.
        fractions: see `engines.base.Prepared`.
    """
    samples = max(len(x), len(w))
    matrices = np.broadcast_to(w, (samples, *w.shape[1:])).reshape(-1, *w.shape[-2:])
    vectors = np.broadcast_to(x, (samples, *x.shape[1:])).reshape(len(matrices), -1, x.shape[-1])
    each = None if numbers is None else numbers.reshape(len(matrices), -1)
    counts, found, engine, slow = MvmCounts(), list[np.ndarray](), "", ""
    for place, matrix in enumerate(matrices):
        prepared = prepare(np.ascontiguousarray(matrix))
        own = np.arange(vectors.shape[1], dtype=np.int64) if each is None else each[place]
        outcome = prepared.multiply(vectors[place], numbers=own, fractions=fractions)
        counts.add(outcome.counts)
        found.append(outcome.values)
        engine, slow = outcome.engine, prepared.why_slow
    return Products(np.stack(found), counts, engine, slow)
