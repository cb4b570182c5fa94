"""What must hold of every mapping."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations

from netwright.backends.cim.program.access import reads, writes
from netwright.backends.cim.program.model import ChipProgram


def check_addresses(chip: ChipProgram) -> None:
    """Buffers that share bytes of a tile are not in use at the same time, as the tile's list goes."""
    for tile, own in chip.tiles.items():
        lives: dict[int, list[int]] = defaultdict(list)
        for place, one in enumerate(own):
            for buffer, _ in (*reads(chip, one), *writes(chip, one)):
                if chip.buffers[buffer].tile == tile:
                    lives[buffer].append(place)
        for a, b in combinations(lives, 2):
            one, other = chip.buffers[a], chip.buffers[b]
            if one.address < other.address + other.bytes and other.address < one.address + one.bytes:
                assert max(lives[a]) < min(lives[b]) or max(lives[b]) < min(lives[a]), (one, other)
