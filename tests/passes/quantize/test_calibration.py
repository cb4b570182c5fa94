"""Statistics of activations: streamed, bounded, saved, and the grids that follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from netwright.backends.onnxruntime.executor import OrtExecutor
from netwright.ir import Program
from netwright.ir.errors import ContractError, DataError, NetwrightError
from netwright.passes.context import Context, Feeds
from netwright.passes.quantize.calibration import METHODS, Method, Statistics, TensorStatistics, calibrate, grid_of, memory, on_grid
from netwright.passes.quantize.calibration.histogram import BINS, SAMPLED, drawn
from netwright.passes.quantize.calibration.methods import Wanted, find_grid
from tests.passes.programs import conv_net, program_of

RNG = np.random.default_rng(0)


def seen(*arrays: np.ndarray) -> TensorStatistics:
    found = TensorStatistics()
    for array in arrays:
        found.add(array)
    return found


def floats(values: Sequence[float]) -> np.ndarray:
    return np.array(values, np.float32)


def context(data: Sequence[Feeds]) -> Context:
    return Context(executor=OrtExecutor(), calibration=data)


def images(rows: Sequence[int]) -> list[Feeds]:
    rng = np.random.default_rng(1)
    return [{"x": rng.normal(size=(count, 3, 8, 8)).astype(np.float32)} for count in rows]


# ---- histograms


def test_a_histogram_that_grew_equals_one_made_at_once() -> None:
    parts = [np.float32(scale) * RNG.normal(size=2000).astype(np.float32) for scale in (0.01, 3.0, 0.5, 700.0)]
    grown, at_once = seen(*parts).histogram, seen(np.concatenate(parts)).histogram
    assert grown.width == at_once.width
    assert grown.first == at_once.first
    np.testing.assert_array_equal(grown.counts, at_once.counts)
    assert grown.total == 8000
    assert grown.counts.size <= BINS


def test_bins_hold_what_lies_between_their_borders() -> None:
    data = RNG.normal(size=5000).astype(np.float32)
    histogram = seen(data).histogram
    borders = (np.arange(histogram.counts.size + 1) + histogram.first) * histogram.width
    np.testing.assert_array_equal(histogram.counts, np.histogram(data, borders)[0])


def test_zeros_are_counted_apart() -> None:
    histogram = seen(np.maximum(RNG.normal(size=1000), 0).astype(np.float32), np.zeros(10, np.float32)).histogram
    assert 400 < histogram.zeros < 620
    assert histogram.counts.sum() + histogram.zeros == 1010


def test_the_draw_from_a_large_array_misses_no_channel() -> None:
    channels = 768
    large = np.tile(np.arange(channels, dtype=np.float32), 2000)
    taken = drawn(large)
    assert taken.size <= SAMPLED
    counts = np.bincount(taken.astype(np.int64), minlength=channels)
    assert counts.min() >= counts.max() - 1


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.5, 0.99, 0.9999])
def test_quantiles(share: float) -> None:
    data = RNG.normal(size=100_000).astype(np.float32)
    assert seen(data).histogram.quantile(share) == pytest.approx(float(np.quantile(data, share)), abs=0.02)


# ---- ranges and grids


def test_minmax_spans_everything() -> None:
    grid = find_grid("minmax", seen(floats([-1, 0.5]), floats([3])), Wanted())
    assert grid.scale == np.float32(4 / 255)
    assert grid.zero_point == 64


def test_moving_is_the_mean_of_batches_ranges() -> None:
    found = seen(floats([-1, 1]), floats([-3, 5]))
    assert (found.moving_low, found.moving_high) == (-2, 3)


def test_percentile_leaves_outliers_out_and_entropy_and_mse_weigh_them() -> None:
    data = np.concatenate([RNG.normal(size=200_000), [80.0]]).astype(np.float32)
    found = seen(data)
    steps = {method: find_grid(method, found, Wanted()).scale for method in METHODS}
    assert steps["minmax"] == pytest.approx(84.5 / 255, rel=0.02)
    assert steps["percentile"] < steps["minmax"] / 8
    assert steps["entropy"] < steps["minmax"] / 4
    assert steps["mse"] < steps["minmax"]


@pytest.mark.parametrize("kind", ["normal", "relu", "laplace", "shifted", "heavy"])
@pytest.mark.parametrize(("bits", "signed", "symmetric"), [(8, False, False), (8, True, True), (4, False, False)])
def test_mse_is_never_worse_than_the_others(kind: str, bits: int, signed: bool, symmetric: bool) -> None:
    rng = np.random.default_rng(7)
    made = {
        "normal": rng.normal(size=60_000),
        "relu": np.maximum(rng.normal(size=60_000), 0),
        "laplace": rng.laplace(size=60_000),
        "shifted": rng.normal(3, 1, size=60_000),
        "heavy": rng.standard_t(3, size=60_000),
    }
    data = made[kind].astype(np.float32)
    found = seen(data)

    def error(method: Method) -> float:
        grid = find_grid(method, found, Wanted(bits, signed, symmetric))
        return float(np.sum((on_grid(data, grid) - data) ** 2))

    errors = {method: error(method) for method in METHODS}
    assert errors["mse"] <= 1.03 * min(errors.values())
    assert all(value < float(np.sum(data**2)) for value in errors.values())


def test_lp_clips_less_than_mse_and_more_than_minmax() -> None:
    found = seen(np.random.default_rng(2).standard_t(3, size=60_000).astype(np.float32))
    mse, lp, minmax = (find_grid(method, found, Wanted()).scale for method in ("mse", "lp", "minmax"))
    assert mse < lp < minmax


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("bits", "signed", "symmetric"), [(8, False, False), (8, True, False), (8, False, True), (8, True, True), (16, False, False)]
)
def test_zero_is_on_every_grid(method: Method, bits: int, signed: bool, symmetric: bool) -> None:
    for data in ([2.0, 2.0], [0.0, 0.0], [-1.0], [-3.0, -2.0], [1e-42], [1e29, -1e29], [0.1, 5.0, -2.0]):
        grid = find_grid(method, seen(floats(data)), Wanted(bits, signed, symmetric))
        assert grid.low <= grid.zero_point <= grid.high
        assert 0 < grid.scale < np.inf
        assert grid.scale == np.float32(grid.scale)
        assert not symmetric or grid.zero_point == (0 if signed else 1 << (bits - 1))


def test_a_constant_is_represented() -> None:
    value = floats([0.7])
    for method in METHODS:
        assert on_grid(value, find_grid(method, seen(value), Wanted())) == pytest.approx(0.7, rel=0.01)


def test_a_grid_is_what_quantize_linear_computes() -> None:
    data = RNG.normal(size=1000).astype(np.float32)
    grid = grid_of(float(data.min()), float(data.max()))
    assert np.abs(on_grid(data, grid) - data).max() <= grid.scale * 0.5001


# ---- calibrate


def test_statistics_are_those_of_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    program, data = conv_net(), images([4, 1, 7])
    plain = calibrate(program, ["x", "c", "r", "y"], context(data), channels={"c": 1})
    whole = [OrtExecutor().run(program, feeds, ["c"])["c"] for feeds in data]
    values = np.concatenate(whole)
    np.testing.assert_allclose([plain.tensors["c"].low, plain.tensors["c"].high], [values.min(), values.max()])
    np.testing.assert_allclose(plain.channels["c"].mean, values.mean(axis=(0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(plain.channels["c"].absmax, np.abs(values).max(axis=(0, 2, 3)))
    np.testing.assert_allclose(plain.channels["c"].power, (values**2).mean(axis=(0, 2, 3)), rtol=1e-5)
    assert plain.tensors["c"].histogram.total == values.size
    assert plain.tensors["x"].count == 12 * 3 * 64
    monkeypatch.setattr(memory, "VALUE_BYTES", 6000)  # a row at a time
    small = calibrate(program, ["x", "c", "r", "y"], context(data), channels={"c": 1})
    assert small.runs == 12
    for name, tensor in plain.tensors.items():
        assert (small.tensors[name].low, small.tensors[name].high) == pytest.approx((tensor.low, tensor.high), rel=1e-5)
        assert small.tensors[name].histogram.total == tensor.histogram.total


class Counted:
    """An executor that keeps a record of what was asked of it."""

    def __init__(self) -> None:
        self.inner = OrtExecutor()
        self.asked: list[tuple[tuple[str, ...], int]] = []

    def run(self, program: Program, feeds: Feeds, wanted: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        found = self.inner.run(program, feeds, wanted)
        self.asked.append((tuple(wanted or ()), sum(array.nbytes for array in found.values())))
        return found


def test_values_that_do_not_fit_at_once_are_run_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    program, data = conv_net(), images([1, 1, 1])
    names = ["c", "n", "r", "y"]
    at_once = calibrate(program, names, context(data))
    monkeypatch.setattr(memory, "VALUE_BYTES", 5000)
    executor = Counted()
    grouped = calibrate(program, names, Context(executor=executor, calibration=data))
    groups = list(dict.fromkeys(wanted for wanted, _ in executor.asked))
    assert groups == [("c", "n"), ("r", "y")]
    assert len(executor.asked) == 6
    assert max(size for _, size in executor.asked) <= 5000
    assert [wanted for wanted, _ in executor.asked] == [groups[0]] * 3 + [groups[1]] * 3  # a session for each group, not for each batch
    assert grouped.runs == 3
    for name in names:
        assert grouped.tensors[name].low == at_once.tensors[name].low
        np.testing.assert_array_equal(grouped.tensors[name].histogram.counts, at_once.tensors[name].histogram.counts)


def test_data_is_gone_through_once() -> None:
    def once() -> Iterator[Feeds]:
        yield from images([2, 3])

    found = calibrate(conv_net(), ["c"], Context(executor=OrtExecutor()), batches=once())
    assert found.tensors["c"].count == 5 * 8 * 64


def test_nan_and_infinity_are_an_obstacle() -> None:
    found = seen(floats([1, np.nan, np.inf, -np.inf, -3.4e38, -2]), floats([np.nan]))
    assert (found.low, found.high, found.infinite, found.count) == (-2, 1, 5, 7)
    statistics = Statistics("", 1, {"mask": found, "none": TensorStatistics(), "fine": seen(floats([1]))})
    assert statistics.obstacle("mask") is not None
    assert "5 of 7 elements of %mask" in str(statistics.obstacle("mask"))
    assert "no elements" in str(statistics.obstacle("none"))
    assert statistics.obstacle("fine") is None
    for name in ("mask", "none"):
        with pytest.raises(DataError, match=name):
            statistics.grid(name)


def test_errors_name_their_place() -> None:
    program = conv_net()
    with pytest.raises(DataError, match="no activation 'w'"):
        calibrate(program, ["w"], context(images([1])))
    with pytest.raises(DataError, match="no batch"):
        calibrate(program, ["c"], context([]))
    with pytest.raises(DataError, match="no calibration data"):
        calibrate(program, ["c"], Context(executor=OrtExecutor()))
    with pytest.raises(ContractError, match="no executor"):
        calibrate(program, ["c"], Context(calibration=images([1])))
    with pytest.raises(DataError, match="no axis 4"):
        calibrate(program, ["c"], context(images([1])), channels={"c": 4})
    with pytest.raises(DataError, match="channels along axis 0"):
        calibrate(program, ["c"], context(images([1, 2])), channels={"c": 0})
    statistics = calibrate(program, ["c"], context(images([1])))
    with pytest.raises(DataError, match="%y was not calibrated"):
        statistics.grid("y")
    for wrong in ({"method": "best"}, {"bits": 1}, {"percentile": 0.999}):
        with pytest.raises(DataError):
            statistics.grid("c", **wrong)  # type: ignore[arg-type]


def test_integers_are_refused() -> None:
    program = program_of(
        """<ir_version: 10, opset_import: ["" : 20]>
        shapes (float[N, 4] x, WEIGHTS) => (float[N, 4] y, int64[2] s)
        {
            s = Shape (x)
            y = Mul (x, w)
        }""",
        {"w": np.ones(4, np.float32)},
    )
    with pytest.raises(DataError, match="%s is int64"):
        calibrate(program, ["s"], context([{"x": np.ones((1, 4), np.float32)}]))


# ---- files


def test_statistics_come_back_from_a_file(tmp_path: Path) -> None:
    program = conv_net()
    made = calibrate(program, ["x", "c", "r"], context(images([2, 3])), channels={"c": 1, "x": -1})
    made.save(tmp_path / "made.npz")
    read = Statistics.load(tmp_path / "made.npz", program)
    assert (read.fingerprint, read.runs, list(read.tensors), list(read.channels)) == (made.fingerprint, 2, ["x", "c", "r"], ["c", "x"])
    for name in made.tensors:
        for method in METHODS:
            assert read.grid(name, method=method) == made.grid(name, method=method)
    for name, channels in made.channels.items():
        assert (read.channels[name].axis, read.channels[name].count) == (channels.axis, channels.count)
        np.testing.assert_array_equal(read.channels[name].mean, channels.mean)
        np.testing.assert_array_equal(read.channels[name].absmax, channels.absmax)
    assert [path.name for path in tmp_path.iterdir()] == ["made.npz"]


def test_statistics_of_another_program_or_no_statistics_are_refused(tmp_path: Path) -> None:
    program = conv_net()
    calibrate(program, ["c"], context(images([2]))).save(tmp_path / "made.npz")
    changed = program_of(
        '<ir_version: 10, opset_import: ["" : 20]> other (float[N, 4] x, WEIGHTS) => (float[N, 4] y) { y = Mul (x, w) }',
        {"w": np.ones(4, np.float32)},
    )
    with pytest.raises(DataError, match="fingerprint"):
        Statistics.load(tmp_path / "made.npz", changed)
    np.savez(tmp_path / "data.npz", x=np.ones(3))
    (tmp_path / "broken.npz").write_bytes((tmp_path / "made.npz").read_bytes()[:500])
    for name in ("data.npz", "broken.npz", "missing.npz"):
        with pytest.raises(DataError, match="cannot be read"):
            Statistics.load(tmp_path / name)
    with pytest.raises(NetwrightError, match="cannot be written"):
        calibrate(program, ["c"], context(images([1]))).save(tmp_path / "nowhere" / "made.npz")
