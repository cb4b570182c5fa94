"""What must hold of every mapping."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations

import numpy as np

from netwright.backends.cim.program.access import reads, writes
from netwright.backends.cim.program.model import ChipProgram


def check_addresses(chip: ChipProgram) -> None:
    """Buffers that share bytes of a tile are not in use at the same time, as the tile's list goes; those of several samples share none."""
    for tile, own in chip.tiles.items():
        lives: dict[int, list[int]] = defaultdict(list)
        for place, one in enumerate(own):
            for buffer, _ in (*reads(chip, one), *writes(chip, one)):
                if chip.buffers[buffer].tile == tile:
                    lives[buffer].append(place)
                    assert chip.buffers[buffer].address + chip.buffers[buffer].room <= chip.arch.tile.memory.bytes
        for a, b in combinations(lives, 2):
            one, other = chip.buffers[a], chip.buffers[b]
            if one.address < other.address + other.room and other.address < one.address + one.room:
                assert one.copies == other.copies == 1, (one, other)
                assert max(lives[a]) < min(lives[b]) or max(lives[b]) < min(lives[a]), (one, other)


def check_layouts(chip: ChipProgram) -> None:
    """Every element has a place of its own within the buffer of its tile that holds it; of rings, every place that is kept."""
    held = {(buffer.tile, buffer.tensor): buffer for buffer in chip.buffers}
    for name, tensor in chip.tensors.items():
        layout = tensor.layout
        if layout is None:
            continue
        size = np.dtype(tensor.dtype).itemsize
        elements = np.indices(tensor.shape).reshape(len(tensor.shape), -1)
        rings = {buffer.ring for buffer in chip.buffers if buffer.tensor == name and buffer.tile in layout.tiles}
        if rings != {0}:
            elements = elements[:, elements[tensor.stream] < min(rings - {0})]
        tiles, addresses = layout.places(elements)
        assert len(set(zip(tiles.tolist(), addresses.tolist(), strict=True))) == len(tiles), name
        for tile in set(layout.tiles):
            buffer, here = held[tile, name], tiles == tile
            assert np.all(addresses[here] >= buffer.address), name
            assert np.all(addresses[here] <= buffer.address + buffer.bytes - size), (name, buffer)
            for axis, (start, stop) in enumerate(buffer.box):
                assert np.all((elements[axis, here] >= start) & (elements[axis, here] < stop)), name
