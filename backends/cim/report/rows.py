"""What reports show as rows of words, once for all forms: tables in a terminal and the page lay them out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from netwright.backends.cim.cost.account import Cost
from netwright.backends.cim.program.model import ChipProgram
from netwright.backends.cim.report.host import HostPart
from netwright.backends.cim.report.layers import Layer
from netwright.backends.cim.report.quantities import count, energy, percent, quantity, time
from netwright.backends.cim.schedule.model import Timeline
from netwright.backends.cim.simulator.activity import Trace

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """Rows under heads.

    Attributes:
        heads: of the columns; empty where rows speak for themselves.
        rows: as many cells each.
    """

    heads: Row
    rows: tuple[Row, ...]

    def without(self, head: str) -> Sheet:
        """The sheet but for one column: a form has no room for it, or shows it otherwise."""
        place = self.heads.index(head)
        return Sheet(_without(self.heads, place), tuple(_without(row, place) for row in self.rows))

    def first(self, most: int) -> Sheet:
        """Its first rows."""
        return Sheet(self.heads, self.rows[:most])


def summary(chip: ChipProgram, timeline: Timeline, cost: Cost) -> Sheet:
    """The run in lines of two cells."""
    use, arch = cost.use, chip.arch
    used = f"arrays {percent(use.arrays)}, cells {percent(use.cells)}, packing {percent(use.packing)}, time {percent(use.busy)}"
    per_second = 1e9 / cost.interval_ns if cost.interval_ns else 0.0
    beside = f", and {len(chip.host)} instructions of the host, whose time and energy are not counted" if chip.host else ""
    rows = (
        ("chip", f"{arch.name}, {arch.node_nm:g} nm, {arch.voltage:g} V, {arch.network.tiles} tiles of {arch.tile_arrays} arrays"),
        ("latency", time(cost.latency_ns) + beside),
        ("interval", f"{time(cost.interval_ns)}, {count(per_second)} samples/s: {_found(timeline)}"),
        ("busiest", _busiest(timeline)),
        ("waiting for ports and links", time(timeline.waited_ns)),
        ("energy", f"{energy(cost.energy_pj)} per sample, mean of {cost.samples}; first load of the weights {energy(cost.loading_pj)}"),
        ("power", quantity(cost.power_mw * 1e-3, "W")),
        ("operations", f"{count(cost.macs)} MACs, {percent(cost.crossbar_macs / cost.macs if cost.macs else 0.0)} on crossbars"),
        ("efficiency", f"{cost.tops:.3g} TOPS, {cost.tops_per_watt:.3g} TOPS/W, {energy(cost.fj_per_mac * 1e-3)} a MAC"),
        ("area", f"{cost.total_mm2:.3g} mm²"),
        ("utilisation", used),
    )
    return Sheet((), (*rows, ("converters", f"costed by the model {cost.converter}")) if cost.converter else rows)


def components(cost: Cost) -> Sheet:
    """Energy and area by component, those with the most energy first."""
    used, area = cost.components, cost.area_mm2
    rows = (
        (
            name,
            energy(used[name]) if name in used else "",
            percent(used[name] / cost.energy_pj) if name in used else "",
            f"{area[name]:.3g}" if name in area else "",
        )
        for name in dict.fromkeys([*used, *area])
    )
    return Sheet(("component", "energy", "share", "area mm²"), tuple(rows))


def by_layer(layers: Sequence[Layer], cost: Cost) -> Sheet:
    """Everything that a layer has; what it has not is left empty."""
    heads = ("layer", "MACs", "arrays", "copies", "conversions", "skipped", "inexact", "energy", "share", "from", "to", "tiles", "engine")
    return Sheet(heads, tuple(_layer(one, cost) for one in layers))


def resources(timeline: Timeline) -> Sheet:
    """What was at work, the busiest first."""
    rows = (
        (one.name, time(one.busy_ns), percent(one.busy_ns / timeline.interval_ns) if timeline.interval_ns else "")
        for one in timeline.resources
    )
    return Sheet(("resource", "at work", "of the interval"), tuple(rows))


def on_host(host: Iterable[HostPart]) -> Sheet:
    """What regions of the host have to do, of one sample."""
    heads = ("region", "elements", "MACs", "special", "moved", "from the chip", "to the chip", "of unknown size")
    return Sheet(heads, tuple(_host(part) for part in host))


def remarks(chip: ChipProgram, trace: Trace, host: Iterable[HostPart]) -> tuple[str, ...]:
    """What a user must know."""
    known = (*chip.notes, *trace.fell_back)
    return (*(part.note for part in host if part.note not in known), *known)


def busiest_share(timeline: Timeline) -> float:
    """The part of the interval that the busiest resource is at work, 0 to 1."""
    return timeline.bound_ns / timeline.interval_ns if timeline.interval_ns else 0.0


def _found(timeline: Timeline) -> str:
    """How the interval was found."""
    if timeline.steady:
        return f"steady over {timeline.samples} samples, run one behind the other"
    return f"a mean over {timeline.samples} samples, run one behind the other, whose distances still varied"


def _busiest(timeline: Timeline) -> str:
    if not timeline.resources:
        return "nothing"
    return f"{timeline.busiest}: {time(timeline.bound_ns)} a sample, {percent(busiest_share(timeline))} of the interval"


def _layer(layer: Layer, cost: Cost) -> Row:
    return (
        layer.name,
        count(layer.macs) if layer.macs else "",
        str(layer.arrays or ""),
        str(layer.copies or ""),
        count(layer.conversions) if layer.macs else "",
        percent(layer.skipped) if layer.macs else "",
        percent(layer.inexact) if layer.macs else "",
        energy(layer.total_pj),
        percent(layer.total_pj / cost.energy_pj) if cost.energy_pj else "",
        time(layer.start_ns) if layer.end_ns else "",
        time(layer.end_ns) if layer.end_ns else "",
        ", ".join(map(str, layer.tiles)),
        ", ".join(layer.engines),
    )


def _host(part: HostPart) -> Row:
    work = part.work
    return (
        part.name,
        *(count(figure) if figure else "" for figure in (work.elements, work.macs, work.special)),
        *(quantity(figure, "B") if figure else "" for figure in (work.moved, part.from_chip_bytes, part.to_chip_bytes)),
        ", ".join(part.unknown),
    )


def _without(row: Row, place: int) -> Row:
    return (*row[:place], *row[place + 1 :])
