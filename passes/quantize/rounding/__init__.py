"""From float weights to integers."""

from netwright.passes.quantize.rounding.base import Nearest, Rounder
from netwright.passes.quantize.rounding.fitted import rounder_for

__all__ = ["Nearest", "Rounder", "rounder_for"]
