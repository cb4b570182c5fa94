"""Factors multiplied back into one operator."""

from netwright.passes.merge.merge import Merge

__all__ = ["Merge"]
