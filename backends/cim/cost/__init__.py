"""Energy, area and time of a chip's parts, and of what ran on it."""

from __future__ import annotations

from netwright.backends.cim.cost.account import Cost, account
from netwright.backends.cim.cost.macro import Peak, macro
from netwright.backends.cim.cost.mvm import Product, mvm_energy

__all__ = ["Cost", "Peak", "Product", "account", "macro", "mvm_energy"]
