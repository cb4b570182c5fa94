"""The graph, and everything that can be known about it without changing it."""

from netwright.ir.errors import NetwrightError
from netwright.ir.ledger import Action, Ledger, Miss
from netwright.ir.program import Program, array, constant

__all__ = ["Action", "Ledger", "Miss", "NetwrightError", "Program", "array", "constant"]
