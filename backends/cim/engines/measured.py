"""What only the sums themselves tell."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Measured:
    """What conversions did.

    Attributes:
        conversions: how many there were.
        counts: Σ p, of all bit lines.
        charge: Σ p·(1 − p/F).
        saturated: conversions clamped.
        inexact: conversions whose p̂ is not p.
    """

    conversions: int = 0
    counts: int = 0
    charge: float = 0.0
    saturated: int = 0
    inexact: int = 0
