"""From lowered programs to what every tile does: regions, units, placement, memory, messages."""

from netwright.backends.cim.mapping.building import build
from netwright.backends.cim.mapping.regions import Cut, Piece, cut

__all__ = ["Cut", "Piece", "build", "cut"]
