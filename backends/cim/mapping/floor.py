"""The chip while it fills: which arrays of which tile are taken, how busy vector units and memories are, how far tiles are apart."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.lowering.prices import RING_SHARE


class Floor:
    """Room on every tile. Asking is linear in tiles.

    Args:
        arch: the chip.
    """

    __slots__ = ("_arch", "_distance", "_held", "_used", "_vector_ns")

    def __init__(self, arch: Arch) -> None:
        self._arch = arch
        columns = arch.network.columns
        places = np.arange(arch.network.tiles)
        down, right = places // columns, places % columns
        self._distance = np.abs(down[:, None] - down) + np.abs(right[:, None] - right)
        self._used = np.zeros(arch.network.tiles, dtype=np.int64)
        self._vector_ns = np.zeros(arch.network.tiles)
        self._held = np.zeros(arch.network.tiles, dtype=np.int64)

    @property
    def free(self) -> int:
        """Arrays that are free on the whole chip."""
        return self._arch.arrays - int(self._used.sum())

    def snapshot(self) -> tuple[np.ndarray, np.ndarray]:
        """What is taken, for `restore`."""
        return self._used.copy(), self._held.copy()

    def restore(self, before: tuple[np.ndarray, np.ndarray]) -> None:
        """Give back what was taken since."""
        self._used[:], self._held[:] = before

    def clear(self) -> None:
        """All arrays are free again, since they are written anew, and the memories that went with them."""
        self._used[:] = 0
        self._held[:] = 0

    def take(self, arrays: int, amount: int, near: Iterable[int]) -> tuple[int, int] | None:
        """Arrays on one tile with memory to spare, as near to some tiles as can be; among equals on the fullest tile.

        Args:
            arrays: how many.
            amount: bytes of memory that go with them.
            near: tiles that they exchange data with.

        Returns:
            The tile and the first of the arrays; None where no tile has so many.
        """
        room = self._arch.tile_arrays - self._used
        fits = np.flatnonzero(room >= arrays)
        if not fits.size:
            return None
        full = self._held[fits] + amount
        roomy = full <= self._arch.tile.memory.bytes * RING_SHARE
        fits = fits[roomy] if roomy.any() else fits[full == full.min()]
        tile = self._nearest(fits, near, room[fits] - arrays)
        first = int(self._used[tile])
        self._used[tile] += arrays
        self._held[tile] += amount
        return tile, first

    def work(self, ns: float, amount: int, near: Sequence[int], avoid: Collection[int] = (), more: Mapping[int, int] | None = None) -> int:
        """A tile for work of a vector unit: near some tiles, and where unit and memory have the most to spare.

        Args:
            ns: that the unit is busy with it.
            amount: bytes of memory that it takes.
            near: tiles that it exchanges data with.
            avoid: tiles that have not the memory for it.
            more: bytes besides, by tile.
        """
        besides = np.zeros_like(self._held)
        for tile, wanted in (more or {}).items():
            besides[tile] += wanted
        held = self._held + besides + amount
        busiest = max(float(self._vector_ns.max()), ns, 1e-9)
        room = self._arch.tile.memory.bytes
        score = (self._vector_ns + ns) / busiest + held / room
        score += np.maximum(0, held - room) / room * 8
        if near:
            score = score + self._distance[:, [tile for tile in near if tile >= 0] or [0]].mean(axis=1) * 0.1
        if len(set(avoid)) < len(score):
            score[list(avoid)] = np.inf
        tile = int(np.argmin(score))
        self.load(tile, ns, amount + int(besides[tile]))
        return tile

    def load(self, tile: int, ns: float, amount: int) -> None:
        """Note that a tile's vector unit is busy for some time and its memory holds some more."""
        self._vector_ns[tile] += ns
        self._held[tile] += amount

    def _nearest(self, tiles: np.ndarray, near: Iterable[int], left: np.ndarray) -> int:
        known = list(near)
        far = self._distance[tiles][:, known].sum(axis=1) if known else self._distance[tiles, 0]
        return int(tiles[np.lexsort((tiles, left, far))[0]])
