"""Channels that carry much are made larger before rounding, and their input smaller (AWQ, Lin et al., 2023).

x W = (x / s)(s W), s_j = E[x_j²]^(α/2), α searched. The error of a weight is relative to the largest of its block, so that channels that
were enlarged suffer less of it, in proportion to what they carry.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from netwright.passes.quantize.rounding.evidence import Evidence

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Values of α that are tried."""

GAIN = 0.9
"""Scale only where the squared error falls under this share of what it was: the multiplication costs 1 to 2 % of the time."""


def channel_scales(matrix: np.ndarray, evidence: Evidence, rounded: Callable[[np.ndarray], np.ndarray]) -> np.ndarray | None:
    """The factors s, float32 [features], with which a matrix, rounded, is closest on half of the held-out rows; None: none help.

    Args:
        matrix: [outputs, features].
        evidence: what it is multiplied with.
        rounded: from a matrix to what its integers stand for.
    """
    stacks = matrix.shape[1] // evidence.width
    power = np.asarray(np.diagonal(evidence.second, axis1=1, axis2=2).reshape(-1, stacks * evidence.width).mean(axis=0))
    seen = power[power > 0]
    if not seen.size:
        return None
    spread = np.sqrt(np.where(power > 0, power, float(seen.min())) / float(np.exp(np.log(seen).mean())))
    half = dataclasses.replace(evidence, held=evidence.held[:, ::2])
    best, least = None, GAIN * half.error(rounded(matrix) - matrix)
    for share in SHARES:
        factors = np.clip(spread**share, 1e-2, 1e2).astype(np.float32)
        error = half.error(rounded(matrix * factors) / factors - matrix)
        if error < least:
            best, least = factors, error
    return best
