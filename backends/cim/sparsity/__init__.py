"""Cells that rest: disabled by the input's zeros (`disable_cells`), and freed by the weights' (`resequence`)."""

from netwright.backends.cim.sparsity.disable_cells import DisableCells
from netwright.backends.cim.sparsity.resequence import Resequence

__all__ = ["DisableCells", "Resequence"]
