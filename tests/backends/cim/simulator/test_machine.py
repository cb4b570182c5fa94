"""The simulator against the specification, and against itself: chunks, threads, tiles, word by word."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from netwright.backends.cim.coding.model import Coding, Converter, Disturbance, Masking
from netwright.backends.cim.coding.reference import reference
from netwright.backends.cim.program.model import ChipProgram, Requantize
from netwright.backends.cim.simulator import Machine, machine, products
from netwright.backends.cim.simulator.activity import Trace
from netwright.ir.errors import DataError, RunError
from tests.backends.cim.program import chips
from tests.backends.cim.program.chips import on_onnxruntime, random_feeds, scaled

CODINGS = {
    "lossless": chips.LOSSLESS,
    "lossy": chips.LOSSY,
    "differential": Coding(rows=32, encoding="differential", converter=Converter(mode="clip", bits=3)),
    "masked charge": Coding(rows=32, converter=Converter(mode="charge", bits=5), masking=Masking(granularity="plane", threshold=0.0)),
    "plain charge": Coding(rows=16, converter=Converter(mode="charge", bits=3)),
    "range": Coding(rows=16, converter=Converter(mode="range", bits=3, low=1, high=13)),
    "noisy charge": Coding(rows=8, converter=Converter(mode="charge", bits=4), noise=Disturbance(conversion=0.5, seed=1)),
    "noisy": Coding(rows=32, converter=Converter(mode="step", bits=5, step=2), noise=Disturbance(conversion=0.7, cell=0.02, seed=3)),
}


def run(chip: ChipProgram, samples: int = 5, **options: object) -> tuple[dict[str, np.ndarray], Trace]:
    return Machine(chip, on_onnxruntime, **options).run(random_feeds(chip, samples))  # pyright: ignore[reportArgumentType]


def rows_of(x: np.ndarray) -> np.ndarray:
    """Rows of K of `chips.WINDOW`, place by place."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=chips.WINDOW.pad_value)
    found = np.empty((len(x), 3, 5, 72), x.dtype)
    for down in range(3):
        for right in range(5):
            found[:, down, right] = padded[:, 2 * down : 2 * down + 3, right : right + 3].reshape(len(x), 72)
    return found


def multiplied(x: np.ndarray, w: np.ndarray, coding: Coding) -> np.ndarray:
    """The product by the plain specification, the matrix uncut."""
    return reference(x.reshape(-1, x.shape[-1]), w, coding)[0].reshape(*x.shape[:-1], w.shape[1])


@pytest.mark.parametrize("coding", CODINGS.values(), ids=CODINGS)
def test_a_linear_layer_is_the_specification(coding: Coding):
    chip, w = chips.linear(coding)
    x = random_feeds(chip, 5)["x"]

    assert np.array_equal(run(chip)[0]["y"], scaled(multiplied(x, w, coding), chip.scalings[0]))


@pytest.mark.parametrize("coding", CODINGS.values(), ids=CODINGS)
def test_a_convolution_is_the_specification(coding: Coding):
    chip, w = chips.conv(coding)
    x = random_feeds(chip, 3)["x"]

    assert np.array_equal(run(chip, 3)[0]["y"], scaled(multiplied(rows_of(x), w, coding), chip.scalings[0]))


@pytest.mark.parametrize("options", [{"chunk": 1}, {"chunk": 2}, {"threads": 2}, {"stepwise": True}, {"stepwise": True, "chunk": 3}])
@pytest.mark.parametrize("coding", CODINGS.values(), ids=CODINGS)
def test_results_do_not_depend_on_how_they_are_computed(coding: Coding, options: dict[str, Any]):
    for chip in (chips.linear(coding)[0], chips.conv(coding)[0]):
        usual, trace = run(chip)
        other, counted = run(chip, **options)

        assert np.array_equal(usual["y"], other["y"])
        assert totals(trace) == totals(counted)


def totals(trace: Trace) -> dict[str, int]:
    """What does not depend on which vectors were looked at."""
    names = ("vectors", "conversions", "cycles", "rows_on", "row_cycles", "enabled", "macs", "masks", "skipped")
    counted = [one.mvm for one in trace.activities.values() if one.mvm is not None]
    return {name: sum(getattr(one, name) for one in counted) for name in names}


def test_a_residual_block_and_a_region_of_the_host():
    chip = chips.residual()
    x = random_feeds(chip, 4)["x"].astype(np.float32)
    t = scaled(random_feeds(chip, 4)["x"].astype(int) @ chip.matrices[0].values.astype(int), chip.scalings[0]).astype(np.float32)
    wanted = np.clip(np.rint((x - 3) + (t - 3)) + 3, 0, 255).astype(np.uint8)
    for options in ({}, {"stepwise": True}):
        outputs, trace = run(chip, 4, **options)

        assert np.array_equal(outputs["y"], wanted)
        assert np.array_equal(outputs["z"], np.cumsum(wanted, axis=1, dtype=np.float32))
        assert not any("one by one" in told for told in trace.fell_back)


def test_layers_in_turn_on_the_same_arrays_and_what_writing_them_takes():
    chip, one, two = chips.reload()
    x = random_feeds(chip, 3)["x"].astype(int)
    outputs, trace = run(chip, 3)

    assert np.array_equal(outputs["y"], scaled(x @ one, chip.scalings[0]).astype(int) @ two)
    first, second = trace.activities[0, 0], trace.activities[0, 5]
    assert (first.cells_written, first.rows_written, first.dram_read) == (3 * 40 * 40 * 8, 3 * 40 * 4, 3 * 40 * 40)
    assert (second.cells_written, second.rows_written, second.dram_read) == (3 * 40 * 5 * 8, 3 * 40 * 2, 3 * 40 * 5)


def test_what_instructions_move():
    chip = chips.conv()[0]
    trace = run(chip, 2)[1]
    load, product, sum_, bytes_, store = (trace.activities[0, index] for index in (0, 1, 3, 4, 5))
    send = trace.activities[1, 2]

    assert (load.dram_read, load.written_bytes, load.read_bytes) == (2 * 4 * 5 * 8, 2 * 4 * 5 * 8, 0)
    places = [(oh, ow, kh, kw) for oh in (0, 1) for ow in range(5) for kh in range(3) for kw in range(3) if (kh, kw) < (2, 2)]
    inside = sum(0 <= 2 * oh + kh - 1 < 6 and 0 <= ow + kw - 1 < 5 for oh, ow, kh, kw in places)
    assert (product.read_bytes, product.written_bytes) == (2 * inside * 8, 2 * 2 * 5 * 4 * 4)
    assert product.mvm is not None
    assert (product.mvm.vectors, product.mvm.macs) == (2 * 10, 2 * 10 * 64 * 4)
    assert (sum_.elements, sum_.read_bytes, sum_.written_bytes) == (80, 640, 320)
    assert (bytes_.elements, bytes_.read_bytes, bytes_.written_bytes) == (80, 320, 80)
    assert (store.read_bytes, store.dram_written) == (80, 80)
    assert (send.messages, send.sent_bytes, send.byte_hops) == (2 * 2, 320, 320 + 4 * chips.CHIP.network.header_bytes)


def test_shares_of_copies_add_up():
    chip = chips.conv(chips.LOSSY)[0]
    together, apart = (run(chip, 3, counts="exact", stepwise=stepwise)[1] for stepwise in (False, True))
    for trace in (together, apart):
        halves = [one for tile in (0, 2) if (one := trace.activities[tile, 1].mvm) is not None]
        assert [one.vectors for one in halves] == [3 * 10, 3 * 5]
    for name in ("counts", "saturated", "inexact", "conversions", "rows_on"):
        sums = [sum(getattr(one.mvm, name) for one in trace.activities.values() if one.mvm) for trace in (together, apart)]
        assert sums[0] == sums[1] > 0 or name == "saturated"


@pytest.mark.parametrize("bytes_", [1, 300, 1500])
@pytest.mark.parametrize("coding", CODINGS.values(), ids=CODINGS)
def test_inputs_of_products_come_in_pieces(coding: Coding, bytes_: int, monkeypatch: pytest.MonkeyPatch):
    made = chips.linear(coding)[0], chips.conv(coding)[0]
    usual = [run(chip) for chip in made]
    monkeypatch.setattr(products, "PIECE", bytes_)
    for chip, (outputs, trace) in zip(made, usual, strict=True):
        other, counted = run(chip)

        assert np.array_equal(outputs["y"], other["y"])
        assert totals(trace) == totals(counted)


def test_a_larger_batch_takes_no_more_memory_than_what_goes_in_and_out(monkeypatch: pytest.MonkeyPatch):
    chip = chips.conv()[0]
    monkeypatch.setattr(machine, "MEMORY", 64 * 1024)
    runner = Machine(chip, on_onnxruntime)

    def peak(samples: int) -> tuple[int, int]:
        """Bytes that a run took at most besides its feeds, and those of its outputs."""
        feeds = random_feeds(chip, samples)
        tracemalloc.start()
        outputs, _ = runner.run(feeds)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most, sum(one.nbytes for one in outputs.values())

    runner.run(random_feeds(chip, 2))
    (few, small), (many, large) = peak(200), peak(4000)

    assert large == 20 * small
    assert many - few < 3 * (large - small)
    monkeypatch.setattr(machine, "MEMORY", 2**29)
    assert peak(4000)[0] > 2 * many  # all at once


def test_progress_is_told_to_the_end():
    told: list[tuple[int, int]] = []
    runner = Machine(chips.linear()[0], on_onnxruntime, chunk=2)
    runner.run(random_feeds(chips.linear()[0], 5), progress=lambda done, total: told.append((done, total)))

    assert told == [(n + 1, 12) for n in range(12)]


def test_feeds_that_do_not_fit():
    runner = Machine(chips.linear()[0], on_onnxruntime)
    with pytest.raises(DataError, match="no input 'q'"):
        runner.run({"q": 1})
    with pytest.raises(DataError, match="axis 1 is 3"):
        runner.run({"x": np.zeros((2, 4, 40), np.uint8)})
    with pytest.raises(DataError, match="above 0"):
        runner.run({"x": np.zeros((0, 3, 40), np.uint8)})


def test_a_region_that_makes_something_else_is_an_error():
    chip = chips.residual()
    with pytest.raises(RunError, match="came out as int64"):
        Machine(chip, lambda program: lambda feeds: {value.name or "": np.zeros(3, np.int64) for value in program.outputs}).run(
            random_feeds(chip, 1)
        )


def test_rows_computed_twice_are_counted_twice():
    usual, overlapping = run(chips.residual()), run(chips.residual(((0, 2), (1, 4))))

    assert np.array_equal(usual[0]["y"], overlapping[0]["y"])
    assert [totals(trace)["vectors"] for _, trace in (usual, overlapping)] == [5 * 4, 5 * 5]


@pytest.mark.parametrize("rows", [((0, 2), (2, 4)), ((0, 2), (1, 4))])
def test_parts_made_in_two_ways_are_followed_one_by_one_where_they_overlap(rows: tuple[tuple[int, int], tuple[int, int]]):
    chip = chips.residual(rows)
    other = replace(chip.scalings[0], multiplier=chip.scalings[0].multiplier * 2)
    own = [replace(one, scaling=1) if isinstance(one, Requantize) else one for one in chip.tiles[1]]
    chip = replace(chip, scalings=(*chip.scalings, other), tiles={**chip.tiles, 1: tuple(own)})
    outputs, trace = run(chip, 2)

    assert np.array_equal(outputs["y"], run(chip, 2, stepwise=True)[0]["y"])
    assert not np.array_equal(outputs["y"], run(chips.residual(), 2)[0]["y"])
    assert any("parts of t are made in two ways" in told for told in trace.fell_back) == (rows[1] == (1, 4))
