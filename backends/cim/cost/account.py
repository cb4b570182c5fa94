"""What a run cost: energy from the executed program's own counters, time from its schedule, area from the chip's description.

Energy is per sample, by layer and component: the arrays' (`mvm`), `memory` (bytes × pJ), `network` (bytes × hops × router and link, the way
from and to outer memory included), `dram`, `vector units`, `writes` (cells reloaded), and the chip's `leakage` (power of its whole area for
the time of a sample), which belongs to no layer. Loading the weights for the first time is not a sample's: it stands apart, and takes what
as many Reloads would. The host's work costs the chip nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.cost.areas import chip_areas_mm2
from netwright.backends.cim.cost.mvm import mvm_energy
from netwright.backends.cim.cost.utilisation import Utilisation, measure, product_of
from netwright.backends.cim.engines.base import MvmCounts
from netwright.backends.cim.program.model import HOST, ChipProgram, Instruction, Mvm, Reload
from netwright.backends.cim.schedule.model import Timeline
from netwright.backends.cim.simulator import counting
from netwright.backends.cim.simulator.activity import Activity, Trace
from netwright.ir.errors import RunError

CHIP = "(chip)"
"""The layer of what belongs to none."""

Energy = dict[str, float]
"""pJ by component."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run cost, per sample where not said otherwise.

    Attributes:
        samples: samples that counts were taken from.
        layers: energy in pJ by layer and component.
        tiles: energy in pJ by tile and component, leakage left out.
        area_mm2: of the chip, by component.
        latency_ns: of one sample alone.
        interval_ns: from one sample to the next.
        macs: multiply-accumulates.
        crossbar_macs: those of them on crossbars.
        counts: what arrays did, by layer, over all samples.
        loading_pj: energy of the first load of the weights, once.
        use: how much of the chip is used.
        converter: which model converters are costed by; empty on digital arrays.
    """

    samples: int
    layers: dict[str, Energy]
    tiles: dict[int, Energy]
    area_mm2: dict[str, float]
    latency_ns: float
    interval_ns: float
    macs: float
    crossbar_macs: float
    counts: dict[str, MvmCounts]
    loading_pj: float
    use: Utilisation
    converter: str

    @property
    def components(self) -> Energy:
        """Energy in pJ by component, the largest first."""
        total: Energy = {}
        for energy in self.layers.values():
            add(total, energy)
        return dict(sorted(total.items(), key=lambda item: -item[1]))

    @property
    def energy_pj(self) -> float:
        """Energy of a sample."""
        return sum(sum(energy.values()) for energy in self.layers.values())

    @property
    def total_mm2(self) -> float:
        """Area of the chip."""
        return sum(self.area_mm2.values())

    @property
    def tops(self) -> float:
        """10¹² operations a second, two for a multiply-accumulate, samples following each other."""
        return 2 * self.macs / self.interval_ns / 1e3 if self.interval_ns else 0.0

    @property
    def tops_per_watt(self) -> float:
        """10¹² operations a joule."""
        return 2 * self.macs / self.energy_pj if self.energy_pj else 0.0

    @property
    def fj_per_mac(self) -> float:
        """Energy of a multiply-accumulate, with everything around it."""
        return self.energy_pj * 1e3 / self.macs if self.macs else 0.0

    @property
    def power_mw(self) -> float:
        """Mean power, samples following each other."""
        return self.energy_pj / self.interval_ns if self.interval_ns else 0.0


def account(chip: ChipProgram, trace: Trace, timeline: Timeline) -> Cost:
    """What a run cost.

    Args:
        chip: the program that ran.
        trace: what its instructions did, over all samples.
        timeline: its schedule, for one sample.

    Raises:
        RunError: the trace has no samples, or is another program's.
    """
    if trace.samples < 1:
        raise RunError(
            "the trace has no samples, so it has no cost", place=chip.name, remedy="Run the program on at least one sample first."
        )
    arch = chip.arch
    layers: dict[str, Energy] = {}
    tiles: dict[int, Energy] = {}
    counts: dict[str, MvmCounts] = {}
    vector_macs = 0
    for tile, instruction, activity in _executed(chip, trace):
        layer = layer_of(chip, instruction)
        energy = {name: part / trace.samples for name, part in activity_energy(chip, instruction, activity).items()}
        add(layers.setdefault(layer, {}), energy)
        add(tiles.setdefault(tile, {}), energy)
        vector_macs += activity.macs
        if activity.mvm is not None:
            counts.setdefault(layer, MvmCounts()).add(activity.mvm)
    area = chip_areas_mm2(arch)
    waiting = leakage_pj(arch, area, timeline, trace.samples)
    if waiting > 0:
        layers[CHIP] = {"leakage": waiting}
    crossbar_macs = sum(one.macs for one in counts.values())
    adc = arch.array.adc
    return Cost(
        samples=trace.samples,
        layers=layers,
        tiles=tiles,
        area_mm2=area,
        latency_ns=timeline.latency_ns,
        interval_ns=timeline.interval_ns,
        macs=(crossbar_macs + vector_macs) / trace.samples,
        crossbar_macs=crossbar_macs / trace.samples,
        counts=counts,
        loading_pj=_loading_pj(chip),
        use=measure(chip, trace, timeline),
        converter="" if adc is None else adc.model,
    )


def activity_energy(chip: ChipProgram, instruction: Instruction, activity: Activity) -> Energy:
    """Energy in pJ of what one instruction did, over all samples."""
    arch = chip.arch
    memory, vector, network, dram = arch.tile.memory, arch.tile.vector, arch.network, arch.dram
    parts: Energy = {
        "memory": activity.read_bytes * memory.read_pj_per_byte + activity.written_bytes * memory.write_pj_per_byte,
        "network": activity.byte_hops * (network.router_pj_per_byte + network.link_pj_per_byte),
        "dram": activity.dram_read * dram.read_pj_per_byte + activity.dram_written * dram.write_pj_per_byte,
        "vector units": activity.elements * vector.pj_per_element
        + activity.macs * vector.pj_per_mac
        + activity.special * vector.pj_per_special,
        "writes": activity.cells_written * arch.array.write_pj,
    }
    if activity.mvm is not None and isinstance(instruction, Mvm):
        add(parts, mvm_energy(arch, product_of(chip, chip.units[instruction.unit]), activity.mvm))
    return {name: energy for name, energy in parts.items() if energy > 0}


def layer_of(chip: ChipProgram, instruction: Instruction) -> str:
    """The layer that an instruction's cost is put to: its own, its matrix's, or its kind."""
    if instruction.layer:
        return instruction.layer
    if isinstance(instruction, Mvm):
        matrix = chip.matrices[chip.units[instruction.unit].matrix]
        return matrix.layer or matrix.name
    return f"({type(instruction).__name__.lower()})"


def leakage_pj(arch: Arch, area_mm2: dict[str, float], timeline: Timeline, samples: int) -> float:
    """Leakage of the chip's whole area during one sample, the mean over samples that follow each other."""
    time = (timeline.latency_ns + (samples - 1) * timeline.interval_ns) / samples
    return arch.leakage_mw_per_mm2 * sum(area_mm2.values()) * time


def add(total: Energy, energy: Energy) -> None:
    """Add energies to others, component by component."""
    for name, part in energy.items():
        total[name] = total.get(name, 0.0) + part


def _executed(chip: ChipProgram, trace: Trace) -> Iterator[tuple[int, Instruction, Activity]]:
    for (tile, index), activity in trace.activities.items():
        if tile == HOST:
            continue
        program = chip.tiles.get(tile, ())
        if not 0 <= index < len(program):
            raise RunError(
                f"the trace has instruction {index} of tile {tile}, which has {len(program)}",
                place=chip.name,
                remedy="Account a trace with the program that made it.",
            )
        yield tile, program[index], activity


def _loading_pj(chip: ChipProgram) -> float:
    """Energy of the first load: of all weights that are there from the start."""
    first = (number for number, unit in enumerate(chip.units) if unit.phase == 0 and not chip.matrices[unit.matrix].source)
    loads = ((Reload(number), counting.count(chip, chip.units[number].tile, Reload(number))) for number in first)
    return sum(sum(activity_energy(chip, one, activity).values()) for one, activity in loads)
