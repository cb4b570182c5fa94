"""What only the sums themselves tell."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Measured:
    """What conversions did.

    Attributes:
        charge: Σ p·(1 − p/F).
        saturated: conversions clamped.
        inexact: conversions whose p̂ is not p.
    """

    charge: float = 0.0
    saturated: int = 0
    inexact: int = 0
