"""What the weights of a unit take: bytes outside the chip, and cells and rows of arrays."""

from __future__ import annotations

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.coding.slicing import columns_of
from netwright.backends.cim.program.model import Unit


def weight_bytes(coding: Coding, unit: Unit) -> int:
    """Bytes that a unit's weights take outside the chip, packed: as many bits each as the coding has (±1 takes one)."""
    bits = 1 if coding.encoding == "xnor" else coding.weight_bits
    return -(-_weights(unit) * bits // 8)


def weight_cells(coding: Coding, unit: Unit) -> int:
    """Cells that hold them."""
    return _weights(unit) * columns_of(coding)


def weight_rows(arch: Arch, unit: Unit) -> int:
    """Rows that are written for them, one row of one array at a time."""
    rows = unit.rows[1] - unit.rows[0]
    return rows * -(-unit.arrays // -(-rows // arch.array.rows))


def _weights(unit: Unit) -> int:
    return (unit.rows[1] - unit.rows[0]) * (unit.columns[1] - unit.columns[0])
