"""What attempts to map a program show about regions and memories of tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

ATTEMPTS = 4
"""Tiles that a region is tried on before it goes to the host for want of memory."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A region and a tile that is too small.

    Attributes:
        tile: which.
        piece: a region that reads the largest buffer there, or fills it.
        why: in words.
        hopeless: no tile has the memory for the region, with nothing else.
    """

    tile: int
    piece: str
    why: str
    hopeless: bool


@dataclass
class Memories:
    """What is known of regions that tiles had too little memory for.

    Attributes:
        avoided: tiles that are full without them, by region.
        hosted: regions that no tile has the memory for, and what was wanted, in words.
    """

    avoided: dict[str, set[int]] = field(default_factory=dict[str, set[int]])
    hosted: dict[str, str] = field(default_factory=dict[str, str])

    def learn(self, lessons: Sequence[Lesson], tiles: int) -> bool:
        """Regions that did not fit go elsewhere next time, and to the host after `ATTEMPTS` (or when no tile is left).

        Args:
            lessons: of one attempt.
            tiles: of the chip.

        Returns:
            False where there is nothing new to learn.
        """
        fresh = [one for one in lessons if one.piece not in self.hosted]
        for one in fresh:
            tried = self.avoided.setdefault(one.piece, set())
            again = one.tile in tried
            tried.add(one.tile)
            if one.hopeless or again or len(tried) >= min(ATTEMPTS, tiles):
                self.hosted[one.piece] = one.why
        return bool(fresh)
