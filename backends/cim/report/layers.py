"""A run by layer: what each did, when, and what that took."""

from __future__ import annotations

from dataclasses import dataclass, field

from netwright.backends.cim.cost.account import CHIP, Cost, layer_of
from netwright.backends.cim.program.model import HOST, ChipProgram, Instruction, Mvm, Vector
from netwright.backends.cim.schedule.model import Timeline
from netwright.backends.cim.simulator.activity import Trace


@dataclass(slots=True)
class Layer:
    """One layer, per sample where not said otherwise.

    Attributes:
        name: the layer's, or a kind of instruction in brackets.
        energy_pj: by component.
        start_ns: of its first row.
        end_ns: of its last.
        busy_ns: time that its units and ports worked, summed.
        macs: on crossbars.
        conversions: of columns' sums.
        skipped: share of sums that no row was enabled for, so that they were not converted.
        inexact: share of conversions whose result is not the sum.
        arrays: that hold its weights, over all copies.
        copies: of its weights, at most.
        tiles: that have instructions of it.
        engines: how the simulator computed its products.
    """

    name: str
    energy_pj: dict[str, float] = field(default_factory=dict[str, float])
    start_ns: float = 0.0
    end_ns: float = 0.0
    busy_ns: float = 0.0
    macs: float = 0.0
    conversions: float = 0.0
    skipped: float = 0.0
    inexact: float = 0.0
    arrays: int = 0
    copies: int = 0
    tiles: tuple[int, ...] = ()
    engines: tuple[str, ...] = ()

    @property
    def total_pj(self) -> float:
        """Energy."""
        return sum(self.energy_pj.values())

    def to_dict(self) -> dict[str, object]:
        """The layer as JSON."""
        return {
            "name": self.name,
            "energy_pj": dict(self.energy_pj),
            "total_pj": self.total_pj,
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            "busy_ns": self.busy_ns,
            "macs": self.macs,
            "conversions": self.conversions,
            "skipped": self.skipped,
            "inexact": self.inexact,
            "arrays": self.arrays,
            "copies": self.copies,
            "tiles": list(self.tiles),
            "engines": list(self.engines),
        }


def by_layer(chip: ChipProgram, trace: Trace, timeline: Timeline, cost: Cost) -> tuple[Layer, ...]:
    """All layers in the order in which they begin, those of the host too; what belongs to no layer comes last."""
    found: dict[str, Layer] = {}
    tiles: dict[str, dict[int, None]] = {}
    engines: dict[str, dict[str, None]] = {}
    units: dict[str, dict[int, None]] = {}
    for span in timeline.spans:
        one = _instruction(chip, span.tile, span.index)
        name = layer_of(chip, one)
        layer = found.setdefault(name, Layer(name, start_ns=span.start_ns))
        layer.end_ns = max(layer.end_ns, span.end_ns)
        layer.busy_ns += span.busy_ns
        if span.tile != HOST:
            tiles.setdefault(name, {})[span.tile] = None
        if isinstance(one, Mvm):
            units.setdefault(name, {})[one.unit] = None
        activity = trace.activities.get((span.tile, span.index))
        if activity is not None and activity.engine:
            engines.setdefault(name, {})[activity.engine] = None
    for name, energy in cost.layers.items():
        found.setdefault(name, Layer(name, start_ns=timeline.latency_ns if name == CHIP else 0.0)).energy_pj.update(energy)
    for name, counts in cost.counts.items():
        layer, sums = found[name], max(counts.conversions + counts.skipped, 1)
        layer.macs, layer.conversions = counts.macs / cost.samples, counts.conversions / cost.samples
        layer.skipped, layer.inexact = counts.skipped / sums, counts.inexact / max(counts.conversions, 1)
    for name, numbers in units.items():
        found[name].arrays = sum(chip.units[number].arrays for number in numbers)
        found[name].copies = 1 + max(chip.units[number].copy for number in numbers)
    for name, layer in found.items():
        layer.tiles, layer.engines = tuple(sorted(tiles.get(name, ()))), tuple(engines.get(name, ()))
    return tuple(sorted(found.values(), key=lambda layer: (layer.name == CHIP, layer.start_ns)))


def _instruction(chip: ChipProgram, tile: int, index: int) -> Instruction | Vector:
    return chip.host[index] if tile == HOST else chip.tiles[tile][index]
