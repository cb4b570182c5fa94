"""Telling two programs apart: by their values on the same inputs, and by their structure."""

from netwright.debug.compare import Comparison, compare
from netwright.debug.structure import StructureDiff, structure

__all__ = ["Comparison", "StructureDiff", "compare", "structure"]
