"""What attempts at a mapping showed about tiles' memories, for the next one."""

from __future__ import annotations

from dataclasses import dataclass, field

ATTEMPTS = 4
"""Tiles that a region is tried on before it goes to the host for want of memory."""


@dataclass
class Memories:
    """What is known of regions that tiles had too little memory for.

    Attributes:
        avoided: tiles that are full without them, by region.
        hosted: regions that no tile has the memory for, and what was wanted, in words.
    """

    avoided: dict[str, set[int]] = field(default_factory=dict[str, set[int]])
    hosted: dict[str, str] = field(default_factory=dict[str, str])

    def learn(self, piece: str, tile: int, why: str, tiles: int) -> None:
        """A region did not fit on a tile: it goes elsewhere next time, and to the host after `ATTEMPTS` (or when no tile is left)."""
        tried = self.avoided.setdefault(piece, set())
        again = tile in tried
        tried.add(tile)
        if again or len(tried) >= min(ATTEMPTS, tiles):
            self.hosted[piece] = why
