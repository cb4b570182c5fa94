"""The pass `factorize`: options, plans, how much, what is left whole, fitting to data."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from netwright import compile as compile_
from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.errors import ContractError, DataError, PipelineError, PlanError
from netwright.ir.program import Program, array
from netwright.passes import Context, Outcome, Pipeline, Plan, run
from netwright.passes.context import Feeds
from netwright.passes.factorize import Factorize
from netwright.passes.planning import Meter
from netwright.passes.values import errors
from tests.models.registry import SMALL_MODELS, traced
from tests.passes.programs import PROGRAMS, attention, feeds_for, program_of

EXECUTOR = OrtExecutor(threads=1)


def factorized(program: Program, text: str, context: Context | None = None) -> Outcome:
    return run(program, Pipeline.parse(text), context or Context(), verify_each=True)


def with_data(batches: Sequence[Feeds]) -> Context:
    return Context(calibration=batches, executor=EXECUTOR)


def size_of(program: Program, weight: str) -> tuple[int, ...]:
    data = array(program.value(weight))
    assert data is not None
    return data.shape


def reasons(outcome: Outcome) -> str:
    return "\n".join(f"{miss.site}: {miss.reason}" for miss in outcome.rows[-1].misses)


def skewed(rows: int = 256, width: int = 64, seed: int = 0) -> np.ndarray:
    """Inputs some of whose directions hardly vary, not centred."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(width, width)) * np.geomspace(3, 0.01, width)
    return (rng.normal(size=(rows, width)) @ mixing.T + rng.normal(size=width)).astype(np.float32)


def dense() -> Program:
    """Two products with biases, and a head too small to be factorized."""
    rng = np.random.default_rng(0)
    weights = {"w1": rng.normal(size=(64, 96)), "b1": rng.normal(size=96), "w2": rng.normal(size=(96, 64)), "b2": rng.normal(size=64)}
    weights["head"] = rng.normal(size=(64, 2))
    return program_of(
        """<ir_version: 10, opset_import: ["" : 20]>
        dense (float[N, 64] x, WEIGHTS) => (float[N, 2] y)
        {
            a0 = MatMul (x, w1)
            a = Add (a0, b1)
            r = Relu (a)
            c = Gemm (r, w2, b2)
            y = MatMul (c, head)
        }""",
        {name: (data / np.sqrt(64)).astype(np.float32) for name, data in weights.items()},
    )


# ---- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("factorize(rank=8, ratio=0.5)", "rank and ratio are different ways of saying how much"),
        ("factorize(ratio=1.0)", "ratio is 1.0; it must be from 0 and below 1"),
        ("factorize(rank=0)", "rank is 0; it must be from 1"),
        ("factorize(energy=1.5)", "energy is 1.5"),
        ("factorize(ratio='half')", "ratio is a number, not 'half'"),
        ("factorize(ratio=0.5, method='magic')", "There is no method 'magic'.*whitened"),
        ("factorize(ratio=0.5, allocation='fair')", "There is no allocation 'fair'"),
        ("factorize(ratio={'a': 0.5}, allocation='global')", "takes one ratio"),
        ("factorize(ratio=0.5, init='zeros')", "There is no init 'zeros'"),
        ("factorize(ranks='measured')", "There is no ranks 'measured'"),
        ("factorize(ratio=0.5, factors=4)", "factors is 2 or 3"),
        ("factorize(ratio=0.5, factors=3, method='tt')", "has a number of its own"),
        ("factorize(ratio=0.5, inner=2.0)", "inner is for expand=True"),
        ("factorize(expand=True, inner=0.5)", "inner is a multiple of the full rank"),
        ("factorize(expand=True, method='svd')", "keeps the product as it is"),
        ("factorize(expand=True, ratio=0.5)", "ratio and expand are different"),
        ("factorize(budget={'flops': 0.5})", "no quantity flops"),
        ("factorize(ratio=0.5, round_to=0)", "round_to is a number from 1"),
        ("factorize(ratio=0.5, method='tt', joint=True)", "joint=True is for factors of matrices"),
    ],
)
def test_options_that_do_not_go_together_are_refused(text: str, message: str):
    with pytest.raises(PipelineError, match=message):
        Pipeline.parse(text)


def test_what_is_missing_is_said_before_anything_runs():
    with pytest.raises(ContractError, match="needs budget"):
        factorized(dense(), "factorize")
    with pytest.raises(ContractError, match="needs calibration"):
        factorized(dense(), "factorize(ratio=0.5, method='whitened')")
    with pytest.raises(ContractError, match=r"needs gradients|needs training"):
        factorized(dense(), "factorize(ratio=0.5, method='fisher')")
    with pytest.raises(ContractError, match="needs timer"):
        factorized(dense(), "factorize(budget={'latency_ms': 0.5})")


# ---- how much --------------------------------------------------------------------------------------------------------


def test_a_ratio_makes_two_thin_products_of_each_that_pays_and_names_the_rest():
    outcome = factorized(dense(), "factorize(ratio=0.5)")
    done = outcome.program
    assert [size_of(done, name) for name in ("w1.u", "w1.v", "w2.u", "w2.v")] == [(64, 16), (16, 96), (96, 16), (16, 64)]
    assert size_of(done, "head") == (64, 2)
    assert "head: left whole" in reasons(outcome)
    assert "2 of" in outcome.rows[-1].note
    assert "6,144" in outcome.program.ledger.actions[0].why


def test_patterns_say_how_much_by_site_and_strangers_are_told():
    outcome = factorized(dense(), "factorize(rank={'w1': 8, 'elsewhere*': 4})")
    assert size_of(outcome.program, "w1.u") == (64, 8)
    assert "w2: left whole: no pattern names it" in reasons(outcome)
    assert "rank names no site with 'elsewhere*'" in reasons(outcome)


def test_excluded_sites_stay_whole_and_unknown_patterns_are_told():
    outcome = factorized(dense(), "factorize(ratio=0.5, exclude=('w1', 'typo*'))")
    assert size_of(outcome.program, "w1") == (64, 96)
    assert "w1: left whole: exclude names it ('w1')" in reasons(outcome)
    assert "exclude names no weight or module with 'typo*'" in reasons(outcome)


def test_a_rank_that_would_be_larger_is_a_miss_with_the_numbers():
    outcome = factorized(dense(), "factorize(rank=48)")
    assert outcome.rows[-1].actions == 0
    assert "w1: left whole: low_rank of rank 48 has 7,680 parameters, the weight 6,144" in reasons(outcome)


def test_energy_takes_the_smallest_factors_that_keep_it():
    outcome = factorized(dense(), "factorize(energy=0.7, round_to=1)")
    told = [re.search(r"([0-9.]+)% of the output's energy lost", action.why) for action in outcome.program.ledger.actions]
    assert len(told) == 2
    assert all(found is not None and float(found[1]) <= 30.0 for found in told)
    weight = array(dense().value("w1"))
    assert weight is not None
    values = np.linalg.svd(weight, compute_uv=False) ** 2
    rank = size_of(outcome.program, "w1.u")[1]
    assert values[:rank].sum() / values.sum() >= 0.7 > values[: rank - 1].sum() / values.sum()


@pytest.mark.parametrize("allocation", ["global", "uniform"])
@pytest.mark.parametrize("quantity", ["params", "macs", "bytes"])
def test_a_budget_is_kept_with_the_least_that_fits(quantity: str, allocation: str):
    program = traced("encoder_separate_qkv")
    text = f"simplify, factorize(budget={{'{quantity}': 0.7}}, allocation='{allocation}', round_to=1)"
    outcome = run(program, Pipeline.parse(text), Context(original=program))
    shown = re.search(rf"{quantity} ([0-9,]+) of at most ([0-9,]+)", outcome.rows[-1].note)
    assert shown is not None
    reached, limit = (float(number.replace(",", "")) for number in shown.groups())
    meter = Meter(Context())
    assert meter.measure(outcome.program, quantity) == pytest.approx(reached, rel=0.01)
    assert limit == pytest.approx(0.7 * meter.measure(program, quantity), rel=1e-4)
    assert 0.9 * limit <= reached <= limit


def test_a_budget_out_of_reach_is_an_error_with_what_can_be_reached():
    with pytest.raises(PlanError, match=r"out of reach.*params"):
        factorized(dense(), "factorize(budget={'params': 0.001})")


# ---- exactness -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet", "encoder_separate_qkv", "lstm", "gru", "unet", "audio_encoder", "grouped_conv", "decoder"])
def test_expanding_changes_nothing_and_merge_brings_the_model_back(name: str):
    program = run(traced(name), Pipeline.parse("simplify"), Context()).program
    feeds = SMALL_MODELS[name].feeds()
    expected = EXECUTOR.run(program, feeds)
    outcome = factorized(program, "factorize(expand=True, inner=1.25)")
    assert outcome.rows[-1].actions > 0
    assert errors(expected, EXECUTOR.run(outcome.program, feeds)).rel < 1e-4
    merged = factorized(outcome.program, "merge")
    assert errors(expected, EXECUTOR.run(merged.program, feeds)).rel < 1e-4
    assert {value.name: size_of(program, value.name or "") for value in program.initializers() if value.const_value is not None} == {
        value.name: size_of(merged.program, value.name or "") for value in merged.program.initializers() if value.const_value is not None
    }


@pytest.mark.parametrize("method", ["svd", "tucker2", "spatial", "tt", "kronecker", "auto"])
@pytest.mark.parametrize("name", ["resnet", "unet", "encoder_fused_qkv", "bi_lstm", "gru", "convnext", "squeeze_excite", "experts_stacked"])
def test_any_model_stays_valid_by_any_method(name: str, method: str):
    program = run(traced(name), Pipeline.parse("simplify"), Context()).program
    outcome = factorized(program, f"factorize(ratio=0.4, method='{method}', round_to=1)")
    if method in ("svd", "auto"):
        assert outcome.rows[-1].actions > 0, reasons(outcome)
    for batch, length in ((1, 4), (3, 7)):
        feeds = SMALL_MODELS[name].feeds(batch, length)
        expected, made = EXECUTOR.run(program, feeds), EXECUTOR.run(outcome.program, feeds)
        assert {key: value.shape for key, value in expected.items()} == {key: value.shape for key, value in made.items()}
        assert all(np.isfinite(value).all() for value in made.values())


# ---- data ------------------------------------------------------------------------------------------------------------


def lost(program: Program, done: Program, value: str, feeds: Feeds) -> float:
    """Share of what varies of a value that is lost."""
    was, now = (EXECUTOR.run(one, feeds, [value])[value].astype(np.float64) for one in (program, done))
    return float(np.square(now - was).sum() / np.square(was - was.mean(axis=0)).sum())


def test_whitened_factors_lose_what_was_predicted_and_less_than_plain_ones():
    program, x = dense(), skewed()
    context = with_data([{"x": x}])
    found: dict[str, float] = {}
    for method in ("svd", "asvd", "whitened"):
        outcome = factorized(program, f"factorize(rank={{'w1': 12}}, method='{method}', recalibrate=False)", context)
        found[method] = lost(program, outcome.program, "a", {"x": x})
        if method == "whitened":
            told = re.search(r"([0-9.]+)% of the output's energy lost", outcome.program.ledger.actions[0].why)
            assert told is not None
            assert found[method] == pytest.approx(float(told[1]) / 100, rel=0.01)
    assert found["whitened"] < min(found["asvd"], found["svd"])


def test_the_mean_of_what_is_lost_goes_into_the_bias():
    program, x = dense(), skewed()
    shifted = {"x": x + 5}
    outcome = factorized(program, "factorize(rank={'w1': 12}, recalibrate=False)", with_data([shifted]))
    was, now = (EXECUTOR.run(one, shifted, ["a"])["a"] for one in (program, outcome.program))
    assert np.abs((now - was).mean(axis=0)).max() < 1e-4 * np.abs(was).max()
    without = factorized(program, "factorize(rank={'w1': 12}, recalibrate=False, correct_bias=False)", with_data([shifted]))
    bias, before = (array(one.value("b1")) for one in (without.program, program))
    assert bias is not None
    assert before is not None
    assert np.array_equal(bias, before)


def test_last_factors_solved_anew_lose_less_at_the_outputs():
    program = attention()
    rng = np.random.default_rng(0)
    batches = [{"x": rng.normal(size=(4, 12, 64)).astype(np.float32)} for _ in range(10)]
    plain, anew = (
        factorized(program, f"factorize(ratio=0.6, joint=False, recalibrate={again}, round_to=1)", with_data(batches)).program
        for again in (False, True)
    )
    held = {"x": rng.normal(size=(16, 12, 64)).astype(np.float32)}
    assert lost(program, anew, "y", held) < 0.99 * lost(program, plain, "y", held)


def test_weights_that_see_the_same_data_share_their_right_factor():
    program = attention()
    outcome = factorized(program, "factorize(ratio=0.5, joint=True)")
    decisions = outcome.plans[0].decisions
    assert decisions["wk"]["with"] == ["wv"]
    assert "with" not in decisions["wq"]  # it sees an Identity of the data
    read = [value.name for node in outcome.program.nodes("MatMul") if (value := node.inputs[1]) is not None]
    assert [read.count(name) for name in ("wk.u", "wk.v", "wv.v")] == [1, 1, 1]
    apart = factorized(program, "factorize(ratio=0.5, joint=False)")
    assert all("with" not in one for one in apart.plans[0].decisions.values())


def test_a_table_is_weighed_by_how_often_its_entries_are_looked_up():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(40, 64)).astype(np.float32)
    program = program_of(
        """<ir_version: 10, opset_import: ["" : 20]>
        looked_up (int64[N, T] ids, WEIGHTS) => (float[N, T, 64] y) { y = Gather (table, ids) }""",
        {"table": table},
    )
    ids = {"ids": np.concatenate([rng.integers(0, 6, (90, 10)), rng.integers(0, 40, (10, 10))]) - 40}
    often = {"ids": np.arange(6)[:, None]}
    plain, weighed = (
        factorized(program, f"factorize(rank=8, round_to=1, method='{method}')", with_data([ids])).program for method in ("svd", "whitened")
    )
    assert lost(program, weighed, "y", often) < 0.1 * lost(program, plain, "y", often)
    assert factorized(program, "factorize(rank=8)", with_data([ids])).plans[0].decisions["table"]["kind"] == "table"


@dataclass(frozen=True)
class Clock:
    """A timer by which every node takes a millisecond, and one that reads a weight of at most so many elements another."""

    slow: int

    def time(self, program: Program) -> float:
        read = [data.size for node in program.nodes() for value in node.inputs if (data := array(value)) is not None and data.ndim > 1]
        return len(list(program.nodes())) + sum(size > self.slow for size in read) * 5.0


def test_sites_whose_factors_are_slower_stay_whole_with_the_times():
    outcome = factorized(dense(), "factorize(ratio=0.5, faster=True)", Context(timer=Clock(10_000)))
    assert outcome.rows[0].actions == 0
    assert "w1: left whole: low_rank of rank 16 takes 2000.0 µs, the weight 1000.0 µs" in reasons(outcome)
    outcome = factorized(dense(), "factorize(ratio=0.5, faster=True)", Context(timer=Clock(5_000)))
    assert outcome.rows[0].actions == 2


@dataclass(frozen=True)
class Teacher:
    """A trainer whose candidates learn as a function of their parameters says; what it is asked for is noted."""

    loss: Callable[[int], float]
    asked: list[int]

    def trial(self, program: Program, batches: object, *, loss: object, seconds: float, lr: float | None = None) -> tuple[float, int]:
        parameters = int(Meter(Context()).measure(program, "params"))
        self.asked.append(parameters)
        found = self.loss(parameters)
        if np.isnan(found):
            raise DataError("the loss is not finite")
        return found, 10


def timed(loss: Callable[[int], float]) -> tuple[Outcome, list[int]]:
    teacher = Teacher(loss, [])
    context = Context(training=[{"x": skewed(8), "labels": np.zeros(8, np.int64)}], trainer=teacher, loss="cross_entropy")  # pyright: ignore[reportArgumentType]
    return factorized(dense(), "factorize(ranks='timed', trial_seconds=1.0)", context), teacher.asked


def test_timed_takes_the_candidate_that_learns_most():
    outcome, asked = timed(lambda parameters: abs(parameters - 4000))
    reached = int(Meter(Context()).measure(outcome.program, "params"))
    assert abs(reached - 4000) == min(abs(one - 4000) for one in asked)
    assert len(asked) == 9  # as it is, four sizes with two factors, four with three
    assert "learns most in 1 s (as it is: loss" in outcome.rows[0].note


def test_timed_leaves_the_program_whole_where_that_learns_most():
    outcome, asked = timed(lambda parameters: -parameters)
    assert outcome.rows[0].actions == 0
    assert max(asked) == asked[0]
    assert "w1: left whole: the candidate that learns most leaves it so" in reasons(outcome)


def test_a_candidate_that_fails_is_told_why_and_not_taken():
    outcome, asked = timed(lambda parameters: float("nan") if parameters < 8000 else parameters)
    assert "failed (the loss is not finite" in outcome.rows[0].note
    assert Meter(Context()).measure(outcome.program, "params") == min(one for one in asked if one >= 8000)


def test_timed_trains_candidates_for_real():
    rng = np.random.default_rng(0)
    batches = [{"x": skewed(16, seed=number), "labels": rng.integers(0, 2, 16)} for number in range(8)]
    text = "factorize(ranks='timed', trial_seconds=0.02, init='spectral')"
    result = compile_(dense(), text, training=batches, loss="cross_entropy", latency=False)
    assert "learns most in 0.02 s (as it is: loss" in next(iter(result.plans.values())).note


# ---- plans -----------------------------------------------------------------------------------------------------------


def test_a_plan_is_carried_out_the_same_way_again_with_the_data(tmp_path: Path):
    program, context = dense(), with_data([{"x": skewed()}])
    first = factorized(program, "factorize(ratio=0.5)", context)
    path = tmp_path / "plan.json"
    path.write_text(first.plans[0].to_json())
    again = factorized(program, f"factorize(plan='{path}')", context)
    feeds = {"x": skewed(8, seed=3)}
    assert errors(EXECUTOR.run(first.program, feeds), EXECUTOR.run(again.program, feeds)).rel < 1e-5


def test_what_was_learnt_from_data_does_not_outlive_the_pass():
    assert factorized(dense(), "factorize(ratio=0.5)", with_data([{"x": skewed()}])).plans[0].evidence is None


def test_a_whitened_plan_without_data_says_what_to_do(tmp_path: Path):
    path = tmp_path / "plan.json"
    path.write_text(factorized(dense(), "factorize(ratio=0.5)", with_data([{"x": skewed()}])).plans[0].to_json())
    with pytest.raises(ContractError, match="by whitened, which needs calibration"):
        factorized(dense(), f"factorize(plan='{path}')")
    text = json.loads(path.read_text())
    for decision in text["decisions"].values():
        decision["method"] = "svd"
    path.write_text(json.dumps(text))
    assert factorized(dense(), f"factorize(plan='{path}')").rows[0].actions == 2


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        ({"structure": "low_rank", "ranks": []}, "ranks"),
        ({"structure": "low_rank", "ranks": [0]}, "needs a structure"),
        ({"structure": "origami", "ranks": [4]}, "needs a structure"),
        ({"structure": "low_rank", "ranks": [4], "method": "magic"}, "has method 'magic'"),
        ({"structure": "low_rank", "ranks": [4], "with": ["w2"]}, "no site of this program"),
        ({"structure": "low_rank", "ranks": [9999]}, "ranks"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(decision: dict[str, object], message: str):
    program = dense()
    good = factorized(program, "factorize(ratio=0.5)").plans[0]
    plan = Plan(pass_name="factorize", fingerprint=good.fingerprint, decisions={"w1": decision})  # pyright: ignore[reportArgumentType]
    with pytest.raises((PlanError, PipelineError), match=message):
        run(program, [Factorize(ratio=0.5)], Context(plans={"factorize": plan}))


# ---- together with other passes --------------------------------------------------------------------------------------


def wide() -> Program:
    """Three products that are large enough for integers to be faster."""
    rng = np.random.default_rng(0)
    weights = {name: (rng.normal(size=(256, 256)) / 16).astype(np.float32) for name in ("a", "b", "c")}
    body = "h = MatMul (x, a)  r = Relu (h)  k = MatMul (r, b)  s = Relu (k)  y = MatMul (s, c)"
    text = f"wide (float[N, 256] x, WEIGHTS) => (float[N, 256] y) {{ {body} }}"
    return program_of(f'<ir_version: 10, opset_import: ["" : 20]>\n{text}', weights)


@pytest.mark.parametrize(
    "text",
    [
        "factorize(ratio=0.5), quantize",
        "prune(ratio=0.3), factorize(ratio=0.3)",
        "factorize(ratio=0.3), prune(ratio=0.3), quantize",
    ],
)
def test_it_composes_with_pruning_and_quantizing(text: str):
    program, meter = wide(), Meter(Context())
    feeds = {"x": np.random.default_rng(1).normal(size=(32, 256)).astype(np.float32)}
    for one in Pipeline.parse(text):
        outcome = run(program, [one], Context(), verify_each=True)
        assert outcome.rows[0].actions, reasons(outcome)
        assert meter.measure(outcome.program, "bytes") < 0.9 * meter.measure(program, "bytes")
        was, now = (EXECUTOR.run(each, feeds) for each in (program, outcome.program))
        assert errors(was, now).rel < (0.1 if one.name == "quantize" else 1.0)
        program = outcome.program


@pytest.mark.parametrize(
    "text",
    ["prune(ratio=0.3, round_to=1), factorize(ratio=0.3, round_to=1)", "factorize(ratio=0.3, round_to=1), prune(ratio=0.3, round_to=1)"],
)
@pytest.mark.parametrize("name", ["encoder_separate_qkv", "resnet", "lstm"])
def test_pruned_models_are_factorized_and_factorized_ones_pruned(name: str, text: str):
    program = run(traced(name), Pipeline.parse("simplify"), Context()).program
    for one in Pipeline.parse(text):
        outcome = run(program, [one], Context(), verify_each=True)
        assert outcome.rows[0].actions, reasons(outcome)
        assert Meter(Context()).measure(outcome.program, "params") < Meter(Context()).measure(program, "params")
        program = outcome.program
    made = EXECUTOR.run(program, SMALL_MODELS[name].feeds(2, 5))
    assert all(np.isfinite(value).all() for value in made.values())


def test_every_weight_of_every_program_is_factorized_or_told():
    for name, make in PROGRAMS.items():
        program = make()
        outcome = factorized(program, "factorize(ratio=0.3, round_to=1)")
        EXECUTOR.run(outcome.program, feeds_for(program))
        told = {*outcome.plans[0].decisions, *(miss.site for miss in outcome.rows[0].misses)}
        large = {
            value.name
            for value in program.initializers()
            if (data := array(value)) is not None and data.ndim > 1 and data.dtype == np.float32 and data.size >= 256
        }
        assert large <= told, name
