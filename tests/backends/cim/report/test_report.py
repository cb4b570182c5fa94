"""Reports: figures that add up, in three forms."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import onnx_ir
import pytest

from netwright.backends.cim.cost.account import CHIP, account
from netwright.backends.cim.program.model import ChipProgram, Load, Store, Vector, Work
from netwright.backends.cim.report import ChipReport, gantt
from netwright.backends.cim.report.energy_bars import REST, folded
from netwright.backends.cim.report.gantt import LANES, Bar, bars_of, stacked
from netwright.backends.cim.report.host import host_parts
from netwright.backends.cim.report.quantities import count, energy, quantity, time
from netwright.backends.cim.report.rows import by_layer
from netwright.backends.cim.schedule import schedule
from netwright.backends.cim.simulator.machine import Machine
from netwright.ir.signature import Port
from tests.backends.cim.program.chips import region, residual
from tests.backends.cim.schedule.chips import ARCH, chain

HOSTILE = '<script>alert("1")</script>[bold]&'


def _report(chip: ChipProgram | None = None) -> ChipReport:
    """Two samples through three convolutions on a leaking chip."""
    chip = chip or chain(3, arch=replace(ARCH, leakage_mw_per_mm2=0.5))
    ports = [Port(name, onnx_ir.DataType.UINT8, ("N", 16, 16, 8)) for name in ("x", "conv2")]
    tensors = {name: replace(tensor, batch_axis=0) for name, tensor in chip.tensors.items()}
    chip = replace(chip, inputs=(ports[0],), outputs=(ports[1],), tensors=tensors)
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 8)).astype(np.uint8)
    _, trace = Machine(chip, lambda _: lambda feeds: dict(feeds)).run({"x": images})
    timeline = schedule(chip)
    return ChipReport(chip, trace, timeline, account(chip, trace, timeline))


@pytest.fixture(scope="module")
def report() -> ChipReport:
    return _report()


class _Page(HTMLParser):
    """Checks that tags are closed in order, and collects them."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append((self.open[-1] if self.open else "", data))


def _parse(html: str) -> _Page:
    found = _Page()
    found.feed(html)
    found.close()
    assert found.open == []
    return found


def test_energy_adds_up_by_layer_by_component_and_by_tile(report: ChipReport) -> None:
    told = json.loads(json.dumps(report.to_dict()))
    assert sum(layer["total_pj"] for layer in told["layers"]) == pytest.approx(told["energy_pj"])
    assert sum(told["components"].values()) == pytest.approx(told["energy_pj"])
    tiles = sum(sum(tile["energy_pj"].values()) for tile in told["tiles"])
    assert tiles + told["components"]["leakage"] == pytest.approx(told["energy_pj"])
    assert told["components"]["leakage"] > 0


def test_layers_stand_in_the_order_in_which_they_begin(report: ChipReport) -> None:
    names = [layer.name for layer in report.layers]
    assert names == ["in", "conv0", "conv1", "conv2", "out", CHIP]
    conv = report.layers[1]
    assert conv.macs == 16 * 16 * 8 * 72
    assert conv.conversions == 16 * 16 * 64 * 8 * 2, "vectors × columns × digits × blocks"
    assert (conv.arrays, conv.copies) == (2, 1)
    assert conv.tiles == (0, 1), "its rows are handed on to tile 1"
    assert conv.engines != ()
    assert (conv.start_ns, conv.inexact) == (92, 0)


def test_the_times_are_the_timelines(report: ChipReport) -> None:
    told = report.to_dict()
    assert told["latency_ns"] == report.timeline.latency_ns
    assert told["interval_ns"] == 16 * 16 * 80
    assert told["links"] == [{"from": a, "to": b, "bytes": n} for (a, b), n in report.timeline.link_bytes.items()]


BUSIEST = "arrays of conv0 on tile 0 (unit 0): 20.5 µs a sample"
STEADY = ("20.5 µs, 48.8 k samples/s: steady over 6 samples, run one behind the other", f"{BUSIEST}, 100.0 % of the interval")
VARIED = (
    "41.0 µs, 24.4 k samples/s: a mean over 32 samples, run one behind the other, whose distances still varied",
    f"{BUSIEST}, 50.0 % of the interval",
)


@pytest.mark.parametrize(("steady", "samples", "factor", "expected"), [(True, 6, 1, STEADY), (False, 32, 2, VARIED)])
def test_the_interval_is_told_with_how_it_was_found(
    report: ChipReport, steady: bool, samples: int, factor: int, expected: tuple[str, str]
) -> None:
    line = replace(report.timeline, interval_ns=factor * report.timeline.interval_ns, samples=samples, steady=steady)
    told = replace(report, timeline=line, cost=account(report.chip, report.trace, line))
    rows = [
        [cell.strip() for cell in row.split("│")[1:-1]] for row in str(told).splitlines() if row.startswith(("│ interval", "│ busiest"))
    ]
    assert rows == [["interval", expected[0]], ["busiest", expected[1]]]
    cells = [data for tag, data in _parse(told.html()).words if tag == "td"]
    at = cells.index("interval")
    assert cells[at : at + 4] == [*rows[0], *rows[1]]
    assert told.to_dict()["interval"] == {"samples": samples, "steady": steady, "bound_ns": 20480.0, "busiest_share": 1 / factor}
    assert told.to_dict()["interval_ns"] == 20480.0 * factor


def test_the_table_shows_every_layer_and_component(report: ChipReport) -> None:
    shown = str(report)
    for name in ("conv0", "conv1", "conv2", *report.cost.components):
        assert name in shown
    assert time(report.cost.latency_ns) in shown
    assert energy(report.cost.energy_pj) in shown
    assert "arrays of conv0 on tile 0" in shown


def test_the_page_stands_by_itself(report: ChipReport) -> None:
    html = report.html()
    found = _parse(html)
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in found.tags}
    assert not any(name in ("src", "href") or name.startswith("on") for _, attributes in found.tags for name in attributes)
    assert set(re.findall(r"https?://[^\"' ]+", html)) == {"http://www.w3.org/2000/svg"}
    assert "url(" not in html


def test_maps_have_every_tile_with_its_figure(report: ChipReport) -> None:
    tips = [words for tag, words in _parse(report.html()).words if tag == "title"]
    for tile in range(16):
        assert sum(tip == f"tile {tile}: unused" or tip.startswith(f"tile {tile}: ") for tip in tips) == 3
    spent = sum(report.cost.tiles[1].values())
    assert f"tile 1: {energy(spent)}" in tips
    assert tips.count("tile 9: unused") == 3
    assert f"link 0 → 1: {quantity(report.timeline.link_bytes[0, 1], 'B')}" in tips


def test_the_timeline_has_every_instruction(report: ChipReport) -> None:
    tips = [words for tag, words in _parse(report.html()).words if tag == "title"]
    drawn = [tip for tip in tips if "at work" in tip]
    assert len(drawn) == sum(span.kind in LANES for span in report.timeline.spans)
    assert any(tip.startswith("conv1: mvm (arrays)") for tip in drawn)


def test_many_bars_become_one_for_each_layer_and_lane(report: ChipReport, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {(span.tile, span.index): "layer" for span in report.timeline.spans}
    every = bars_of(report.timeline, names)
    monkeypatch.setattr(gantt, "MOST_BARS", 5)
    merged = bars_of(report.timeline, names)
    assert len(merged) == len({(bar.tile, bar.lane) for bar in every}) < len(every)
    assert sum(bar.busy_ns for bar in merged) == pytest.approx(sum(bar.busy_ns for bar in every))
    assert sum(bar.spans for bar in merged) == len(every)


def test_bars_that_overlap_lie_below_each_other() -> None:
    bars = [Bar(0, 0, "", "mvm", start, end, 1.0) for start, end in ((0, 5), (1, 3), (3, 8), (5, 9))]
    assert stacked(bars) == ([0, 1, 1, 0], 2)


def test_names_are_words_and_never_markup() -> None:
    chip = chain(3)
    tiles = {tile: tuple(replace(one, layer=HOSTILE) for one in part) for tile, part in chip.tiles.items()}
    matrices = tuple(replace(matrix, layer=HOSTILE) for matrix in chip.matrices)
    report = _report(replace(chip, name=HOSTILE, tiles=tiles, matrices=matrices, notes=(HOSTILE,)))
    html = report.html()
    assert "<script" not in html
    _parse(html)
    assert "[bold]&" in str(report)


LOOP = """loop (uint8[1, 16, 16, 8] conv2) => (float[1, 16, 16, 8] z) {
    rounds = Constant<value = int64 {3}>()
    on = Constant<value = bool {1}>()
    f = Cast<to = 1>(conv2)
    e = Exp(f)
    i = NonZero(f)
    z = Loop(rounds, on, e) <body = step (int64 n, bool go, float[1, 16, 16, 8] had) => (bool again, float[1, 16, 16, 8] has) {
        again = Identity(go)
        has = Tanh(had)
    }>
}"""


def test_what_the_host_runs_is_told_with_its_reason_and_its_work(report: ChipReport) -> None:
    """Sizes that only the data decide, and rounds of loops, are named and not guessed."""
    why = "Loop has no fixed number of steps"
    stored = next(one.target for one in report.chip.tiles[2] if isinstance(one, Store))
    chip = replace(report.chip, regions=(region(LOOP, why_host=why),), host=(Vector(0, (stored,), (), ()),))
    told = replace(report, chip=chip)
    size = 16 * 16 * 8
    work = {"elements": size, "macs": 0, "special": size, "moved_bytes": 0, "unknown": ["NonZero", "Loop"]}
    assert told.to_dict()["host"] == [{"name": "loop", "why": why, "not_in_totals": work, "from_chip_bytes": size, "to_chip_bytes": 0}]
    assert told.to_dict()["energy_pj"] == report.to_dict()["energy_pj"]
    for shown in (str(told), told.html()):
        assert shown.count(f"loop runs on the host: {why}.") == 1
        assert "On the host: work that is in none of the figures above" in shown
        assert count(size) in shown
        assert "NonZero, Loop" in shown
        assert "1 instructions of the host, whose time and energy are not counted" in shown
    noted = replace(told, chip=replace(chip, notes=(f"loop runs on the host: {why}.", "Something else.")))
    for shown in (str(noted), noted.html()):
        assert shown.count(why) == 1, "the mapping's note and the report's line are one"
        assert "Something else." in shown
    assert "On the host" not in str(report) + report.html()


def test_bytes_over_the_port_count_once_for_each_tile_that_stores_or_loads_them() -> None:
    """Two tiles store halves of y for the host; then one tile loads all of its result, and one a half of it."""
    chip = residual()
    part = host_parts(chip)[0]
    assert (part.name, part.work, part.unknown) == ("sums", Work(elements=2 * 24), ())
    assert (part.from_chip_bytes, part.to_chip_bytes) == (24, 0)
    made = chip.host[0].targets[0]
    loads = {tile: (*own, Load(made, 0, ((0, 1), (0, 4 - 2 * tile), (0, 6)))) for tile, own in chip.tiles.items()}
    assert host_parts(replace(chip, tiles=loads))[0].to_chip_bytes == 4 * (24 + 12)


def test_tables_and_page_show_the_same_cells(report: ChipReport) -> None:
    """Each form leaves out one column of the layers."""
    sheet = by_layer(report.layers, report.cost)
    assert set(sheet.heads) - set(sheet.without("tiles").heads) == {"tiles"}
    words = [data for tag, data in _parse(report.html()).words if tag == "td"]
    for row, spoken in zip(sheet.rows, sheet.without("share").rows, strict=True):
        cells = [cell for cell in spoken if cell]
        assert any(words[at : at + len(cells)] == cells for at in range(len(words)))
        line = next(line for line in str(report).splitlines() if line.startswith(f"│ {row[0]} ") and line.count("│") == len(sheet.heads))
        assert [cell.strip() for cell in line.split("│")[1:-1]] == [
            cell for head, cell in zip(sheet.heads, row, strict=True) if head != "tiles"
        ]


def test_components_beyond_the_colours_are_the_rest() -> None:
    assert folded({"a": 1.0, "b": 2.0, "c": 4.0}, {"a": "#000", REST: "#fff"}) == {"a": 1.0, REST: 6.0}


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (energy(1.0), "1.00 pJ"),
        (energy(1234.5), "1.23 nJ"),
        (energy(0.25), "250 fJ"),
        (energy(0), "0 J"),
        (time(999.96), "1.00 µs"),
        (time(3.2e7), "32.0 ms"),
        (count(12), "12"),
        (count(1_250_000), "1.25 M"),
        (quantity(2048, "B"), "2.05 kB"),
    ],
)
def test_figures_have_three_digits(shown: str, expected: str) -> None:
    assert shown == expected
