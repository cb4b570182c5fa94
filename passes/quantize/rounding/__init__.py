"""From float weights to integers."""

from netwright.passes.quantize.rounding.base import Nearest, Rounder

__all__ = ["Nearest", "Rounder"]
