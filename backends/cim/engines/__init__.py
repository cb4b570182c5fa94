"""Products on crossbars, fast: packed planes and popcounts, exact collapse into float32 products, tables of conversions."""

from netwright.backends.cim.engines.base import MvmCounts, Outcome, Prepared
from netwright.backends.cim.engines.compiled import Machine, describe
from netwright.backends.cim.engines.conversions import divide
from netwright.backends.cim.engines.prepare import prepare

__all__ = ["Machine", "MvmCounts", "Outcome", "Prepared", "describe", "divide", "prepare"]
