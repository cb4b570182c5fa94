"""What a compute-in-memory chip is made of.

A chip is a mesh of tiles. A tile has cores of crossbar arrays, a memory, and a digital vector unit. An array keeps a weight matrix, one
bit line a column: weights are cut into cells of `cell_bits`, inputs are applied in digits of `digit_bits`, one digit a cycle, on
`active_rows` rows at once; every column's sum passes through an analog-to-digital converter or, on digital arrays, an adder tree.

Energies are in pJ, areas in µm², times in ns, capacities in bytes, unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Encoding: TypeAlias = Literal["offset", "differential", "twos_complement"]
ConverterMode: TypeAlias = Literal["exact", "step", "clip", "range", "charge"]
Granularity: TypeAlias = Literal["none", "pad", "row", "row_group", "plane", "plane_group"]
AdcModel: TypeAlias = Literal["zigzag", "cimloop", "table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adc:
    """The converter at the foot of the columns.

    Attributes:
        bits: resolution.
        mode: what it does to a sum (`netwright.backends.cim.coding`): `step`, `clip`, `range` or `charge`.
        step: counts a code stands for in mode `step`; 0 for the smallest power of two that covers every sum.
        low: the sum at code 0 in mode `range`.
        high: the sum at the last code in mode `range`; equal to `low`: the largest sum that can be.
        columns: columns that share one converter, one after the other.
        subtract: of differential arrays, whether the two columns are subtracted `before` conversion or `after` two of them.
        model: which fit gives energy, area and delay: zigzag's (specs of 28 nm), CiMLoop's of Murmann's survey, or the table below.
        rate_mhz: conversions of one converter, in millions a second, for the model `cimloop`; its delay is the inverse.
        energy_scale: calibration factor on the fit's energy; 1 for none.
        area_scale: calibration factor on the fit's area.
        energy_pj: energy of a conversion, for the model `table`.
        area_um2: area, for the model `table`.
        delay_ns: time of a conversion, for the model `table`.
    """

    bits: int = 8
    mode: ConverterMode = "step"
    step: int = 0
    low: int = 0
    high: int = 0
    columns: int = 1
    subtract: Literal["before", "after"] = "after"
    model: AdcModel = "zigzag"
    rate_mhz: float = 100.0
    energy_scale: float = 1.0
    area_scale: float = 1.0
    energy_pj: float = 0.0
    area_um2: float = 0.0
    delay_ns: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What makes analog sums inexact.

    Attributes:
        conversion: standard deviation added to every conversion, in counts.
        cell: relative standard deviation of one cell's contribution, drawn once for each cell.
        seed: of both; the same seed gives the same chip and the same noise, whatever the tiling.
    """

    conversion: float = 0.0
    cell: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Disabling:
    """What the chip can do to switch cells off where the input is 0.

    Attributes:
        granularities: what a mask may tell apart, the finest last.
        group: rows of a group, for the granularities with groups.
        parasitic_cells: the column's parasitic capacitance, in cells' capacitances.
    """

    granularities: tuple[Granularity, ...] = ("none", "pad")
    group: int = 8
    parasitic_cells: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """One crossbar array.

    Attributes:
        kind: `analog` sums on bit lines and converts; `digital` adds in a tree, exactly.
        device: what a cell is: `rram` multiplies by itself, `sram` has a gate beside each cell, which counts in the area.
        rows: word lines.
        columns: bit lines.
        active_rows: rows read at once; a block of this many rows is one partial sum.
        cell_bits: weight bits of a cell.
        digit_bits: input bits of a cycle.
        encoding: how signed weights become cells that are not negative.
        adc: the converter; None on digital arrays.
        cycle_ns: time of one cycle (a digit on `active_rows` rows, all converters once); 0 for what the unit models say.
        cell_um2: area of a cell.
        cell_ff: capacitance of a cell, or the bit line's for one cell, in fF.
        write_pj: energy of writing a cell.
        write_ns: time of writing a row.
        noise: of the analog sums.
        disabling: of cells.
        driver_area_scale: calibration factor on the area of word line drivers.
    """

    kind: Literal["analog", "digital"] = "analog"
    device: Literal["sram", "rram"] = "sram"
    rows: int = 128
    columns: int = 256
    active_rows: int = 128
    cell_bits: int = 1
    digit_bits: int = 1
    encoding: Encoding = "offset"
    adc: Adc | None = field(default_factory=Adc)
    cycle_ns: float = 0.0
    cell_um2: float = 0.3
    cell_ff: float = 0.35
    write_pj: float = 0.095
    write_ns: float = 1.0
    noise: Noise = Noise()
    disabling: Disabling = Disabling()
    driver_area_scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """A tile's digital unit: everything that is not a product with resident weights.

    Attributes:
        lanes: elements of a simple operation (add, multiply, compare, requantize) a cycle.
        macs: multiply-accumulates a cycle, for products whose weights are in no array.
        special: elements a cycle of exp, tanh, erf, division and the like.
        pj_per_element: energy of a simple operation on one element.
        pj_per_mac: energy of a multiply-accumulate.
        pj_per_special: energy of exp and the like.
        area_um2: of the unit.
    """

    lanes: int = 64
    macs: int = 64
    special: int = 8
    pj_per_element: float = 0.5
    pj_per_mac: float = 0.8
    pj_per_special: float = 5.0
    area_um2: float = 60_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A tile's memory.

    Attributes:
        bytes: capacity.
        bytes_per_cycle: of reads, and of writes besides.
        read_pj_per_byte: energy of reading.
        write_pj_per_byte: energy of writing.
        um2_per_byte: area.
    """

    bytes: int = 262_144
    bytes_per_cycle: int = 64
    read_pj_per_byte: float = 6.5
    write_pj_per_byte: float = 5.9
    um2_per_byte: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """Cores of arrays around a memory and a vector unit.

    Attributes:
        cores: cores of a tile.
        arrays: arrays of a core.
        memory: shared by the cores.
        vector: the digital unit.
    """

    cores: int = 4
    arrays: int = 8
    memory: Memory = Memory()
    vector: Vector = Vector()


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A mesh of tiles; messages go along a row first, then along a column.

    Attributes:
        columns: tiles in a row of the mesh.
        rows: rows of the mesh.
        link_bytes: bytes that a link carries in a cycle.
        hop_cycles: cycles of one router and link.
        setup_cycles: cycles before a message's first byte.
        header_bytes: of each message.
        router_pj_per_byte: energy of a router.
        link_pj_per_byte: energy of a link.
        router_um2: area of a router.
    """

    columns: int = 8
    rows: int = 8
    link_bytes: int = 32
    hop_cycles: int = 2
    setup_cycles: int = 4
    header_bytes: int = 8
    router_pj_per_byte: float = 0.65
    link_pj_per_byte: float = 0.4
    router_um2: float = 37_500.0

    @property
    def tiles(self) -> int:
        """Tiles of the mesh."""
        return self.columns * self.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Dram:
    """Memory outside the chip; its port is at tile 0.

    Attributes:
        bytes_per_cycle: of the port.
        latency_cycles: before the first byte.
        read_pj_per_byte: energy of reading.
        write_pj_per_byte: energy of writing.
    """

    bytes_per_cycle: int = 16
    latency_cycles: int = 100
    read_pj_per_byte: float = 87.5
    write_pj_per_byte: float = 93.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Arch:
    """A chip.

    Attributes:
        name: of the preset or file.
        about: one line for tables.
        sources: where its figures come from.
        node_nm: technology node.
        voltage: supply of the arrays, in V.
        clock_mhz: of memories, vector units and network.
        weight_bits: widest weight that it holds.
        input_bits: widest input that it applies.
        array: every array of it.
        tile: every tile of it.
        network: between tiles.
        dram: outside.
        leakage_mw_per_mm2: power of area that only waits.
        voltage_exponent: energy of the arrays goes with this power of the voltage.
        delay_exponent: delays of the arrays go with this negative power of the voltage; 0 where nothing is known.
        nominal_voltage: where the arrays' energies and delays are as the unit models or tables have them; 0 for `voltage` itself.
    """

    name: str
    about: str = ""
    sources: tuple[str, ...] = ()
    node_nm: float = 28.0
    voltage: float = 0.9
    clock_mhz: float = 500.0
    weight_bits: int = 8
    input_bits: int = 8
    array: Array = Array()
    tile: Tile = Tile()
    network: Network = Network()
    dram: Dram = Dram()
    leakage_mw_per_mm2: float = 0.0
    voltage_exponent: float = 2.0
    delay_exponent: float = 0.0
    nominal_voltage: float = 0.0

    @property
    def tile_arrays(self) -> int:
        """Arrays of a tile."""
        return self.tile.cores * self.tile.arrays

    @property
    def arrays(self) -> int:
        """Arrays of the chip."""
        return self.network.tiles * self.tile_arrays

    @property
    def clock_ns(self) -> float:
        """Time of one cycle of the digital clock."""
        return 1e3 / self.clock_mhz
