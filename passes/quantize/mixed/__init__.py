"""Bits by site: how much each weight's rounding costs, the best bits within a budget, and what goes back to float."""

from netwright.passes.quantize.mixed.allocate import Option, least_error
from netwright.passes.quantize.mixed.bits import Allocation, allocated_bits
from netwright.passes.quantize.mixed.revert import reverted

__all__ = ["Allocation", "Option", "allocated_bits", "least_error", "reverted"]
