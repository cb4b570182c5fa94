"""Passes from a quantized Program to one whose products are on crossbars."""

from netwright.backends.cim.lowering.binding import Bind
from netwright.backends.cim.lowering.channels import ChannelsLast
from netwright.backends.cim.lowering.chips import coding_for
from netwright.backends.cim.lowering.crossbars import Crossbars
from netwright.backends.cim.lowering.lower import complete, lower_graph
from netwright.backends.cim.program.batches import is_bound, ports

__all__ = ["Bind", "ChannelsLast", "Crossbars", "coding_for", "complete", "is_bound", "lower_graph", "ports"]
