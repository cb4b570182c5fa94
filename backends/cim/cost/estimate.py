"""What products take before anything has run: prices by which a compiler chooses where they go.

Digits of inputs and bits of weights are taken to be ones by half; everything else is the same unit models as for reports.
"""

from __future__ import annotations

from dataclasses import dataclass

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.coding.slicing import columns_of, input_places
from netwright.backends.cim.cost.delays import mvm_ns, vector_ns, write_ns
from netwright.backends.cim.cost.mvm import Product, mvm_energy
from netwright.backends.cim.engines.base import MvmCounts


@dataclass(frozen=True, slots=True)
class Price:
    """What something takes for one sample.

    Attributes:
        pj: energy.
        ns: time.
    """

    pj: float = 0.0
    ns: float = 0.0

    @property
    def product(self) -> float:
        """Energy × delay."""
        return self.pj * self.ns

    def __add__(self, other: Price) -> Price:
        """One after the other."""
        return Price(self.pj + other.pj, self.ns + other.ns)

    def __str__(self) -> str:
        return f"{_figure(self.pj / 1e6)} µJ, {_figure(self.ns / 1e3)} µs"


def on_arrays(arch: Arch, coding: Coding, *, rows: int, outputs: int, vectors: int, live: int | None = None) -> Price:
    """Vectors through a matrix [rows, outputs], its arrays side by side, one vector after the other.

    Args:
        arch: the chip.
        coding: how the product is computed.
        rows: K.
        outputs: J.
        vectors: of one sample.
        live: rows whose weights for an output may be other than 0; all where not given.
    """
    digits, blocks = len(input_places(coding)), -(-rows // coding.rows)
    applied = vectors * digits * rows
    conversions = vectors * digits * blocks * columns_of(coding) * outputs
    counts = MvmCounts(
        vectors=vectors,
        cycles=vectors * digits * blocks,
        conversions=conversions,
        conversion_bits=conversions * coding.converter.bits,
        rows_on=applied // 2,
        row_cycles=applied,
        counts=vectors * digits * columns_of(coding) * outputs * (rows if live is None else live) // 4,
        macs=vectors * rows * outputs,
    )
    pj = sum(mvm_energy(arch, Product(coding, rows, outputs), counts).values())
    return Price(pj, vectors * mvm_ns(arch, coding, blocks))


def on_vector_unit(arch: Arch, macs: int) -> Price:
    """Multiply-accumulates on one tile's vector unit."""
    return Price(macs * arch.tile.vector.pj_per_mac, vector_ns(arch, macs=macs))


def writing(arch: Arch, coding: Coding, *, rows: int, outputs: int) -> tuple[Price, int]:
    """A matrix into arrays: rows of one array follow each other, arrays are written side by side. And how many cells that are."""
    cells = rows * outputs * columns_of(coding)
    return Price(cells * arch.array.write_pj, write_ns(arch, min(rows, arch.array.rows))), cells


def _figure(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
