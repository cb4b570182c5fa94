"""How long things take: what a schedule is made of.

A cycle applies one digit to one block of rows: row driver, cell, converter (once for each column that shares it), adder trees,
accumulator, one after the other. Source of the gates' and adders' paths: zigzag-imc (ripple-carry adders; `units`).
"""

from __future__ import annotations

import math

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.coding.slicing import input_places
from netwright.backends.cim.cost.adc import conversion
from netwright.backends.cim.cost.shape import Periphery, periphery
from netwright.backends.cim.cost.units import Gates, delay_scale, gates


def cycle_parts_ns(arch: Arch) -> dict[str, float]:
    """What a cycle of an array is made of, by the unit models, whatever `cycle_ns` says."""
    gate = gates(arch)
    foot = periphery(arch)
    shared = arch.array.adc.columns if arch.array.adc is not None else 1
    return {
        "converters": conversion(arch).delay_ns * shared,
        "multipliers": gate.multiplier_ns,
        "adder trees": 0.0 if foot.analog else _tree_ns(gate, foot),
        "place values": _placing_ns(gate, foot),
        "accumulators": _accumulator_ns(gate, foot),
    }


def array_cycle_ns(arch: Arch) -> float:
    """Time of one cycle: a digit on `active_rows` rows, all columns converted. The chip's own figure where it gives one."""
    if arch.array.cycle_ns > 0:
        return arch.array.cycle_ns * delay_scale(arch)
    return sum(cycle_parts_ns(arch).values())


def mvm_cycles(arch: Arch, coding: Coding, blocks: int) -> int:
    """Cycles of one vector on a unit.

    Arrays work side by side; blocks of rows in one array (more rows than are active at once) follow each other.

    Args:
        arch: the chip.
        coding: how the product is computed.
        blocks: blocks of `coding.rows` rows that the unit holds, over all its arrays.
    """
    in_array = max(1, arch.array.rows // coding.rows)
    return len(input_places(coding)) * min(blocks, in_array)


def mvm_ns(arch: Arch, coding: Coding, blocks: int) -> float:
    """Time of one vector on a unit; arguments as of `mvm_cycles`."""
    return mvm_cycles(arch, coding, blocks) * array_cycle_ns(arch)


def vector_cycles(arch: Arch, *, elements: int = 0, macs: int = 0, special: int = 0, moved: int = 0) -> int:
    """Digital cycles of a tile's vector unit for some work; `moved` are bytes, at the memory's width."""
    unit = arch.tile.vector
    parts = ((elements, unit.lanes), (macs, unit.macs), (special, unit.special), (moved, arch.tile.memory.bytes_per_cycle))
    return sum(-(-amount // width) for amount, width in parts)


def vector_ns(arch: Arch, *, elements: int = 0, macs: int = 0, special: int = 0, moved: int = 0) -> float:
    """Time of the same."""
    return vector_cycles(arch, elements=elements, macs=macs, special=special, moved=moved) * arch.clock_ns


def memory_ns(arch: Arch, amount: int) -> float:
    """Time of reading, or of writing, bytes through a tile memory's port."""
    return -(-amount // arch.tile.memory.bytes_per_cycle) * arch.clock_ns


def dram_ns(arch: Arch, amount: int) -> float:
    """Time that the port to outside memory is held by bytes; the latency before the first comes besides (`dram_latency_ns`)."""
    return -(-amount // arch.dram.bytes_per_cycle) * arch.clock_ns


def dram_latency_ns(arch: Arch) -> float:
    """Time before outside memory's first byte."""
    return arch.dram.latency_cycles * arch.clock_ns


def link_ns(arch: Arch, payload: int) -> float:
    """Time that a message holds a link of the network, its header included."""
    return -(-(payload + arch.network.header_bytes) // arch.network.link_bytes) * arch.clock_ns


def hops_ns(arch: Arch, hops: int) -> float:
    """Time before a message's first byte is there: set-up and routers."""
    return (arch.network.setup_cycles + hops * arch.network.hop_cycles) * arch.clock_ns


def write_ns(arch: Arch, rows: int) -> float:
    """Time of writing rows of an array, one after the other; arrays write side by side."""
    return rows * arch.array.write_ns


def _tree_ns(gate: Gates, foot: Periphery) -> float:
    levels = math.ceil(foot.depth)
    if levels == 0:
        return 0.0
    return (levels - 1) * gate.sum_ns + gate.carry_ns + (math.ceil(foot.tree_bits) - 2) * gate.ripple_ns


def _placing_ns(gate: Gates, foot: Periphery) -> float:
    if foot.placed == 1:
        return 0.0
    return (math.ceil(math.log2(foot.placed)) - 1) * gate.sum_ns + gate.carry_ns + (foot.placed - 1) * gate.ripple_ns


def _accumulator_ns(gate: Gates, foot: Periphery) -> float:
    if not foot.serial:
        return 0.0
    return gate.carry_ns + max(0.0, foot.accumulator_bits - foot.placed_width - 1) * gate.ripple_ns
