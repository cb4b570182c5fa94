"""Rounding by data, judged by outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.ir.editor import Editor
from netwright.passes import Context
from netwright.passes.quantize.activations import Activations
from netwright.passes.quantize.blockwise import quantize_blocks
from netwright.passes.quantize.choice import BlockWise, Choice, Dynamic
from netwright.passes.quantize.dynamic import quantize_dynamic
from netwright.passes.quantize.integers import by_rows, in_blocks
from netwright.passes.quantize.planning import survey
from netwright.passes.quantize.rounding import Nearest, Rounder, evidence, rounder_for
from netwright.passes.quantize.rounding.adaround import adaround
from netwright.passes.quantize.rounding.gptq import DAMPING, gptq
from netwright.passes.quantize.rounding.grid import Grid
from netwright.passes.quantize.rounding.half_quadratic import half_quadratic
from netwright.passes.quantize.units import Unit
from netwright.passes.statistics import solve_positive
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, evaluate, normal, ops


def correlated(rows: int, features: int, seed: int = 0) -> np.ndarray:
    """Rows whose features go together, and differ in size."""
    mix = normal(features // 4, features, seed=99) + 0.1 * normal(features // 4, features, seed=98)
    return (normal(rows, features // 4, seed=seed) @ mix + 0.2 * normal(rows, features, seed=seed + 1)) * np.exp(
        normal(features, seed=97) / 2
    )


def carried_out(program: Program, choice: Choice, batches: Sequence[Mapping[str, np.ndarray]] | None) -> tuple[Program, Rounder]:
    """A clone with every unit quantized so, and what rounded it."""
    clone = program.clone()
    choices: dict[Unit, Choice] = dict.fromkeys(survey(clone, convolutions=True).units, choice)
    rounder = rounder_for(clone, choices, Context(calibration=batches, executor=OrtExecutor()))
    activations = Activations.of(clone)
    for unit in survey(clone, convolutions=True).units:
        with Editor(clone, at=unit.sites[0].node) as editor:
            if isinstance(choice, BlockWise):
                quantize_blocks(editor, unit, choice, rounder)
            else:
                assert isinstance(choice, Dynamic)
                quantize_dynamic(editor, unit, choice, activations, rounder)
    return clone, rounder


def off(program: Program, choice: Choice, batches: Sequence[Mapping[str, np.ndarray]], feeds: Mapping[str, np.ndarray]) -> float:
    """Relative error of the first output, as rounded; nothing may have fallen back."""
    found, rounder = carried_out(program, choice, batches)
    assert not rounder.misses
    before, after = evaluate(program, feeds)[0], evaluate(found, feeds)[0]
    return float(np.linalg.norm(after - before) / np.linalg.norm(before))


PRODUCT = f"{HEAD} g (float[N, 64] x, WEIGHTS) => (float[N, 48] y) {{ y = MatMul (x, w) }}"


def product() -> Program:
    return program_of(PRODUCT, {"w": normal(64, 48, seed=5)})


def test_gptq_is_what_the_paper_says_column_by_column() -> None:
    matrix, x = normal(5, 40), correlated(200, 40).astype(np.float64)
    second = x.T @ x / 200
    grid = Grid.of_channels(by_rows(matrix, bits=4), 4, 40)
    order = np.argsort(-np.diag(second), kind="stable")
    left = matrix[:, order].astype(np.float64)
    damped = second[np.ix_(order, order)] + DAMPING * np.diag(second).mean() * np.eye(40)
    wanted = np.empty((5, 40))
    for column in range(40):
        first = solve_positive(damped[column:, column:].copy(), np.eye(40 - column)[0])  # of the inverse over columns that are still free
        wanted[:, order[column]] = np.clip(np.rint(left[:, column] / grid.step[:, 0]), -8, 7)
        error = left[:, column] - wanted[:, order[column]] * grid.step[:, 0]
        left[:, column:] -= error[:, None] * (first / first[0])
    assert np.array_equal(gptq(matrix, second[None], grid), wanted)


def test_where_features_are_independent_gptq_rounds_to_the_nearest() -> None:
    matrix = normal(7, 40)
    grid = Grid.of_channels(by_rows(matrix, bits=4), 4, 40)
    assert np.array_equal(gptq(matrix, np.diag(np.arange(40.0))[None], grid), grid.nearest(matrix))


def test_gptq_in_slices_and_parts_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, x = normal(8, 20), correlated(100, 40).reshape(100, 2, 20).transpose(1, 0, 2)
    second = x.transpose(0, 2, 1) @ x / 100
    grid = Grid.of_channels(by_rows(matrix, bits=3), 3, 20)
    found = gptq(matrix, second, grid)
    for group in range(2):  # two groups of a convolution, whose outputs lie one after the other
        rows = slice(4 * group, 4 * group + 4)
        assert np.array_equal(found[rows], gptq(matrix[rows], second[group : group + 1], grid.rows(rows)))
    monkeypatch.setattr("netwright.passes.quantize.rounding.gptq.PART_ELEMENTS", 50)
    assert np.array_equal(found, gptq(matrix, second, grid))
    wide = normal(3, 40)  # two runs of features, side by side
    grid = Grid.of_channels(by_rows(wide, bits=3), 3, 40)
    found = gptq(wide, second, grid)
    for run in range(2):
        columns = slice(20 * run, 20 * run + 20)
        assert np.array_equal(found[:, columns], gptq(wide[:, columns], second[run : run + 1], grid))


def test_features_never_seen_are_rounded_to_the_nearest() -> None:
    matrix, x = normal(5, 40), correlated(200, 40)
    x[:, [3, 17]] = 0
    grid = Grid.of_channels(by_rows(matrix, bits=4), 4, 40)
    found = gptq(matrix, (x.T @ x / 200)[None], grid)
    assert np.array_equal(found[:, [3, 17]], grid.nearest(matrix)[:, [3, 17]])
    assert not np.array_equal(found, grid.nearest(matrix))


@pytest.mark.parametrize(("method", "share"), [("gptq", 0.75), ("adaround", 0.8)])
@pytest.mark.parametrize(
    "choice", [BlockWise(4, 32), BlockWise(2, 32), BlockWise(4, 16, symmetric=True), Dynamic(4), Dynamic(3, outliers=((5, 4),))]
)
def test_outputs_are_closer_on_data_never_seen(choice: BlockWise | Dynamic, method: str, share: float) -> None:
    program, batches = product(), [{"x": correlated(300, 64, seed=2 * index)} for index in range(4)]
    feeds = {"x": correlated(300, 64, seed=1000)}
    assert off(program, replace(choice, rounding=method), batches, feeds) < share * off(program, choice, batches, feeds)


def test_channel_scales_are_divided_out_of_the_input() -> None:
    x = [normal(300, 64, seed=seed) * np.where(np.arange(64) % 16 == 0, 30, 1).astype(np.float32) for seed in range(3)]
    program, choice = product(), BlockWise(4, 32)
    found, rounder = carried_out(program, replace(choice, rounding="awq"), [{"x": one} for one in x[:2]])
    assert ops(found) == ["Mul", "MatMulNBits"]
    assert not rounder.misses
    before, after = evaluate(program, {"x": x[2]})[0], evaluate(found, {"x": x[2]})[0]
    nearest = off(program, choice, [], {"x": x[2]})
    assert np.linalg.norm(after - before) / np.linalg.norm(before) < 0.75 * nearest


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_half_quadratic_grids_lose_less_than_the_first(bits: int, symmetric: bool) -> None:
    matrix = normal(16, 80)
    grid = Grid.of_blocks(in_blocks(matrix, bits=bits, block_size=32, symmetric=symmetric), bits, 32)
    integers, found = half_quadratic(matrix, grid, symmetric=symmetric)
    assert (integers >= 0).all()
    assert (integers < 1 << bits).all()
    assert np.linalg.norm(found.weights(integers) - matrix) < np.linalg.norm(grid.weights(grid.nearest(matrix)) - matrix)
    if symmetric:
        assert np.array_equal(found.middle, grid.middle)


def test_adaround_keeps_each_weight_within_a_step() -> None:
    matrix, x = normal(6, 32), correlated(200, 32)
    grid = Grid.of_channels(by_rows(matrix, bits=4), 4, 32)
    found = adaround(matrix, (x.T @ x / 200)[None], grid)
    inside = np.abs(matrix / grid.step) <= 7
    assert (np.abs(found - matrix / grid.step)[inside] < 1).all()
    assert not np.array_equal(found, grid.nearest(matrix))


@pytest.mark.parametrize("group", [1, 2, 16])
def test_convolutions_are_rounded_by_their_patches(group: int) -> None:
    body = f"y = Conv <kernel_shape: ints = [3, 3], pads: ints = [1, 1, 1, 1], strides: ints = [2, 2], group: int = {group}> (x, w)"
    text = f"{HEAD} g (float[N, 16, 9, 9] x, WEIGHTS) => (float[N, 32, 5, 5] y) {{ {body} }}"
    program = program_of(text, {"w": normal(32, 16 // group, 3, 3, seed=3)})
    images = [np.cumsum(np.cumsum(normal(24, 16, 9, 9, seed=seed), axis=2), axis=3) for seed in range(3)]
    batches = [{"x": images[0]}, {"x": images[1]}]
    choice = BlockWise(4, 32)
    found, _ = carried_out(program, choice, None)
    assert sorted(ops(found)) == ["Cast", "Conv", "Mul"]
    assert set(found.graph.initializers) == {"w.int8", "w.scale"}  # the float weight is gone
    feeds = {"x": images[2]}
    assert off(program, replace(choice, rounding="gptq"), batches, feeds) < 0.8 * off(program, choice, batches, feeds)


def test_a_table_that_is_also_the_head_is_rounded_for_both() -> None:
    text = f"{HEAD} g (int64[N] ids, float[N, 64] x, WEIGHTS) => (float[N, 512] y, float[N, 64] e) " + (
        "{ e = Gather (w, ids)\n t = Transpose <perm: ints = [1, 0]> (w)\n y = MatMul (x, t) }"
    )
    program = program_of(text, {"w": normal(512, 64, seed=3)})
    batch = [{"ids": np.arange(300), "x": correlated(300, 64)}]
    feeds = {"ids": np.arange(300), "x": correlated(300, 64, seed=7)}
    nearest, fitted = (carried_out(program, BlockWise(4, 32, rounding=rounding), batch) for rounding in ("nearest", "gptq"))
    assert not fitted[1].misses
    before = evaluate(program, feeds)
    errors = np.array(
        [
            [np.linalg.norm(new - old) / np.linalg.norm(old) for new, old in zip(evaluate(found, feeds), before, strict=True)]
            for found, _ in (nearest, fitted)
        ]
    )
    assert errors[1, 0] < 0.9 * errors[0, 0]  # the head's
    assert errors[1, 1] < 1.3 * errors[0, 1]  # entries', which gptq for the head alone makes worse by more
    assert (errors[1] ** 2).sum() < (errors[0] ** 2).sum()


def test_what_held_out_rows_do_not_bear_out_is_not_kept() -> None:
    x = correlated(400, 64)
    x[300:] = normal(100, 64, seed=8)  # the last quarter is nothing like the rest
    found, rounder = carried_out(product(), BlockWise(4, 32, rounding="gptq"), [{"x": x}])
    plain, _ = carried_out(product(), BlockWise(4, 32), None)
    (miss,) = rounder.misses
    assert miss.site == "y"
    assert miss.reason.startswith("rounded to the nearest: gptq leaves an error of 0.")
    assert "on held-out rows, the nearest 0.0" in miss.reason
    feeds = {"x": normal(3, 64)}
    assert np.array_equal(evaluate(found, feeds)[0], evaluate(plain, feeds)[0])


def test_without_data_the_reason_is_told() -> None:
    _, rounder = carried_out(product(), BlockWise(4, 32, rounding="gptq"), None)
    assert [miss.reason for miss in rounder.misses] == ["rounded to the nearest: gptq needs calibration data, and there is none"]
    _, rounder = carried_out(product(), Dynamic(4, rounding="awq"), [{"x": normal(8, 64)}])
    assert "only products in blocks have room" in rounder.misses[0].reason


def test_channel_scales_that_gain_little_are_not_worth_a_multiplication() -> None:
    found, rounder = carried_out(product(), BlockWise(4, 32, rounding="awq"), [{"x": normal(400, 64)}])
    assert ops(found) == ["MatMulNBits"]
    assert [miss.reason for miss in rounder.misses] == ["rounded to the nearest: awq found no factors that lower the squared error by 10%"]


def test_data_that_is_not_finite_rounds_to_the_nearest() -> None:
    x = normal(100, 64)
    x[3, 5] = np.inf
    _, rounder = carried_out(product(), BlockWise(4, 32, rounding="gptq"), [{"x": x}])
    assert "no finite value of the main graph" in rounder.misses[0].reason


def test_tables_that_nothing_multiplies_are_rounded_to_the_nearest() -> None:
    text = f"{HEAD} g (int64[N] ids, WEIGHTS) => (float[N, 64] e) {{ e = Gather (w, ids) }}"
    program = program_of(text, {"w": normal(2048, 64)})
    _, rounder = carried_out(program, BlockWise(4, 32, rounding="gptq"), [{"ids": np.arange(30)}])
    assert [miss.reason for miss in rounder.misses] == ["rounded to the nearest: %w is looked up, and gptq is for products"]


def test_an_lstm_s_weights_are_rounded_by_inputs_and_states() -> None:
    weights = {"w": normal(2, 128, 24, seed=1) / 4, "r": normal(2, 128, 32, seed=2) / 4}
    text = f"{HEAD} g (float[T, N, 24] x, WEIGHTS) => (float[T, 2, N, 32] y) " + (
        '{ y = LSTM <hidden_size: int = 32, direction: string = "bidirectional"> (x, w, r) }'
    )
    program = program_of(text, weights)
    clone = program.clone()
    units = survey(clone).units
    choices: dict[Unit, Choice] = dict.fromkeys(units, Dynamic(4, rounding="gptq"))
    batches = [{"x": correlated(240, 24, seed=seed).reshape(20, 12, 24)} for seed in (0, 2)]
    rounder = rounder_for(clone, choices, Context(calibration=batches, executor=OrtExecutor()))
    feeds = {"x": correlated(240, 24, seed=9).reshape(20, 12, 24)}
    before = evaluate(program, feeds)[0]
    errors: list[float] = []
    for one in (Nearest(), rounder):
        found = program.clone()
        for name, data in weights.items():
            rounded = one.rows(found.value(name), data.reshape(256, -1), bits=4)
            with Editor(found) as editor:
                editor.set_constant(found.value(name), (rounded.values * rounded.scale[:, None]).reshape(data.shape).astype(np.float32))
        errors.append(float(np.linalg.norm(evaluate(found, feeds)[0] - before)))
    assert not rounder.misses
    assert errors[1] < 0.9 * errors[0]


def test_nothing_is_run_where_all_go_to_the_nearest() -> None:
    _, rounder = carried_out(product(), BlockWise(4, 32), None)
    assert isinstance(rounder, Nearest)


def test_little_memory_makes_more_passes_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    body = "a = MatMul (x, u)\n b = MatMul (a, v)\n y = MatMul (b, w)"
    weights = {name: normal(64, 64, seed=seed) / 8 for seed, name in enumerate("uvw")}
    program = program_of(f"{HEAD} g (float[N, 64] x, WEIGHTS) => (float[N, 64] y) {{ {body} }}", weights)
    batches = [{"x": correlated(300, 64)}]
    choice = BlockWise(4, 32, rounding="gptq")
    whole, _ = carried_out(program, choice, batches)
    gathered: list[int] = []
    gather = evidence.Evidences._gather  # pyright: ignore[reportPrivateUsage]

    def counted(self: evidence.Evidences, first: object) -> None:
        gather(self, first)  # type: ignore[arg-type]
        gathered.append(len(self._seen))  # pyright: ignore[reportPrivateUsage]

    monkeypatch.setattr(evidence.Evidences, "_gather", counted)
    monkeypatch.setattr(evidence, "BYTES", 1)
    apart, _ = carried_out(program, choice, batches)
    assert gathered == [1, 1, 1]
    feeds = {"x": normal(5, 64)}
    assert np.array_equal(evaluate(whole, feeds)[0], evaluate(apart, feeds)[0])
