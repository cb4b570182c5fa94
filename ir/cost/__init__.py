"""What a program costs: parameters, multiply-accumulates, bytes read and written; per node, layer, operator and module."""

from netwright.ir.cost.analysis import Cost, CostRow, NodeCost, Totals, cost
from netwright.ir.cost.bindings import default_bindings
from netwright.ir.cost.quantity import Quantity

__all__ = ["Cost", "CostRow", "NodeCost", "Quantity", "Totals", "cost", "default_bindings"]
