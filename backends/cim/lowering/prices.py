"""What products of two values of the input cost either way: on vector units, or with the right one written to arrays first."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import onnx_ir

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.cost.estimate import Price, on_arrays, on_vector_unit, writing
from netwright.backends.cim.lowering.chips import coding_for
from netwright.passes.quantize.attention import PairSizes, pair_sizes

RING_SHARE = 0.6
"""What products' vectors and sums may take of a tile's memory; regions and messages need some, too."""
_CUT_SHARE = 4
"""A region that is cut takes at most this part of a tile's memory."""
_FLOAT_BYTES = 4
_SUM_BYTES = 5
"""Of a sum and the byte that becomes of it."""


@dataclass(frozen=True, slots=True)
class Attention(PairSizes):
    """A product of two values of the input, priced."""

    def prices(self, arch: Arch) -> tuple[Price, Price, Price, int]:
        """On vector units; written to arrays, heads side by side; of which the writing; cells written."""
        coding = coding_for(arch)
        one = on_vector_unit(arch, self.count * self.vectors * self.rows * self.outputs)
        unit = Price(one.pj, one.ns / self.tiles(arch))
        wrote, cells = writing(arch, coding, rows=self.rows, outputs=self.outputs)
        done = wrote + on_arrays(arch, coding, rows=self.rows, outputs=self.outputs, vectors=self.vectors)
        return unit, Price(self.count * done.pj, done.ns), Price(self.count * wrote.pj, wrote.ns), self.count * cells

    def tiles(self, arch: Arch) -> int:
        """Tiles that a mapping cuts the floats among: one, as long as they take little of its memory; no more than there are products."""
        elements = self.vectors * self.rows + self.rows * self.outputs + self.vectors * self.outputs
        wanted = -(-_CUT_SHARE * _FLOAT_BYTES * self.count * elements // arch.tile.memory.bytes)
        return max(1, min(wanted, self.count, arch.network.tiles))

    def why_not_held(self, arch: Arch) -> str | None:
        """Why tiles' memories have no room for vectors, matrices and sums beside the arrays; None where they have."""
        one = self.vectors * self.rows + self.rows * self.outputs + _SUM_BYTES * self.vectors * self.outputs
        room, tiles = arch.tile.memory.bytes, arch.network.tiles
        if one <= room * RING_SHARE and self.count * one <= room * RING_SHARE * tiles:
            return None
        return (
            f"both operands are computed, and the vectors, the matrix and the sums of one product take {one:,} bytes, of all {self.count} "
            f"{self.count * one:,}: {tiles} tiles of {room:,} bytes have {RING_SHARE:.0%} of their memories for it"
        )

    def why_vector(self, arch: Arch) -> str | None:
        """Why it had better stay on vector units, with prices; None where arrays take less energy × delay."""
        short = self.why_not_held(arch)
        if short is not None:
            return short
        unit, arrays, wrote, cells = self.prices(arch)
        if arrays.product < unit.product:
            return None
        return (
            f"both operands are computed, and vector units cost less ({unit}) "
            f"than arrays ({arrays}, of which {wrote} to write {cells:,} cells)"
        )


def attention_of(node: onnx_ir.Node) -> Attention | None:
    """The sizes of a MatMul (or CrossbarMatMul) of two values; None where they are not known."""
    sizes = pair_sizes(node, {})
    return None if sizes is None else Attention(*astuple(sizes))
