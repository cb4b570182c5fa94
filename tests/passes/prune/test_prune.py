"""The pass `prune` on whole units: options, plans, what is removed, what stays, compensation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.coupling import Group, coupling
from netwright.ir.errors import ContractError, PipelineError, PlanError
from netwright.ir.program import Program, array
from netwright.passes import Context, Outcome, Pipeline, Plan, run
from netwright.passes.prune import Prune
from netwright.passes.prune.importance import Evidence
from netwright.passes.prune.masked import masked
from netwright.passes.prune.planning import read_decisions
from netwright.passes.values import errors
from tests.passes.programs import PROGRAMS, attention, conv_net, embedding, feeds_for


def pruned(program: Program, text: str, context: Context | None = None) -> Outcome:
    return run(program, Pipeline.parse(text), context or Context(), verify_each=True)


def size_of(program: Program, weight: str) -> tuple[int, ...]:
    data = array(program.value(weight))
    assert data is not None
    return data.shape


def even_units_first(group: Group, evidence: Evidence) -> np.ndarray:
    """An importance of the user's own: odd units matter."""
    return np.arange(group.size) % 2 + evidence.alive(group) * 0.5


# ---- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prune(ratio=0.5, threshold=0)", "ratio and threshold are different ways of saying how much"),
        ("prune(ratio=0.5, plan='p.json')", "ratio and plan are different"),
        ("prune(ratio=1.5)", "ratio is 1.5; it must be from 0 and below 1"),
        ("prune(ratio={'a': 2})", r"ratio\['a'\] is 2"),
        ("prune(ratio='half')", "ratio is a number, not 'half'"),
        ("prune(threshold='low')", "threshold is a number"),
        ("prune(budget={'flops': 0.5})", "no quantity flops"),
        ("prune(budget={'macs': -1})", "macs is -1"),
        ("prune(ratio=0.5, scope='layers')", "There is no scope 'layers'. .*Scopes: channels, heads"),
        ("prune(ratio=0.5, round_to=0)", "round_to is a number of units from 1"),
        ("prune(ratio=0.5, max_ratio=1.0)", "max_ratio is between 0 and 1"),
        ("prune(ratio={'a': 0.5}, global_ranking=True)", "takes one ratio"),
        ("prune(threshold=0, global_ranking=True)", "A threshold ranks nothing"),
        ("prune(ratio=0.5, sparsity=0.5)", "sparsity is for single weights. .*structured=False"),
        ("prune(ratio=0.5, pattern='2:4')", "pattern is for single weights"),
        ("prune(structured=False)", "was not told how much"),
        ("prune(structured=False, ratio=0.5)", "ratio is for whole units"),
        ("prune(structured=False, sparsity=0.5, scope='heads')", "scope is for whole units"),
        ("prune(structured=False, sparsity=1.0)", "sparsity is 1.0"),
        ("prune(structured=False, pattern='4:2')", "not of the form N:M"),
        ("prune(structured=False, pattern='2:4', sparsity=0.7)", "makes 0.5 of the weights zero, and sparsity is 0.7"),
        ("prune(structured=False, sparsity=0.5, importance='taylor')", "Single weights are not ranked by 'taylor'"),
        ("prune(ratio=0.5, importance='magic')", "no criterion 'magic'"),
        ("prune(ratio=0.5, importance='nowhere:score')", "cannot be loaded"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_anything_runs(text: str, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        pruned(conv_net(), text)


@pytest.mark.parametrize(
    "text",
    [
        "prune",
        "prune(ratio=0.3, scope='heads')",
        "prune(ratio={'layer1.*': 0.5, '*': 0.25}, exclude=('head*',))",
        "prune(budget={'macs': 0.5, 'latency_ms': 2.0}, importance='taylor', global_ranking=True)",
        "prune(structured=False, pattern='2:4')",
        f"prune(ratio=0.5, importance='{__name__}:even_units_first')",
    ],
)
def test_pipeline_text_prints_back(text: str) -> None:
    printed = str(Pipeline.parse(text))
    assert Pipeline.parse(printed) == Pipeline.parse(text)
    assert str(Pipeline.parse(printed)) == printed


@pytest.mark.parametrize(
    ("text", "need"),
    [
        ("prune", r"needs budget.*prune\(ratio=0.5\)"),
        ("prune(ratio=0.5, importance='taylor')", "needs loss"),
        ("prune(ratio=0.5, importance='activation')", "needs calibration"),
        ("prune(ratio=0.5, compensate=True)", "needs calibration"),
        ("prune(budget={'latency_ms': 0.5})", "needs timer.*nw.compile"),
        ("prune(structured=False, sparsity=0.5, importance='activation')", "needs calibration"),
    ],
)
def test_what_is_missing_is_said_at_once(text: str, need: str) -> None:
    with pytest.raises(ContractError, match=need):
        pruned(conv_net(), text)


# ---- what goes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [conv_net, attention, embedding])
@pytest.mark.parametrize("ratio", [0.25, 0.5])
def test_the_result_computes_what_the_masked_original_does(sample: Callable[[], Program], ratio: float) -> None:
    program = sample()
    feeds, executor = feeds_for(program), OrtExecutor()
    outcome = pruned(program, f"prune(ratio={ratio}, round_to=1)")
    assert outcome.rows[0].actions > 0
    removal = read_decisions(outcome.plans[0], program.fact(coupling))
    expected = executor.run(masked(program, removal), feeds)
    assert errors(expected, executor.run(outcome.program, feeds)).max_abs < 1e-5


@pytest.mark.parametrize("sample", PROGRAMS)
def test_every_group_is_pruned_or_a_miss(sample: str) -> None:
    program = PROGRAMS[sample]()
    outcome = pruned(program, "prune(ratio=0.5)")
    told = {miss.site for miss in outcome.rows[0].misses} | set(outcome.plans[0].decisions)
    assert told == {group.name for group in program.fact(coupling).groups}
    assert len(outcome.plans[0].decisions) == outcome.rows[0].actions


def test_a_threshold_of_zero_removes_exactly_the_dead_units() -> None:
    program = conv_net()
    with program.edit() as editor:
        for name in ("w", "b", "gamma", "beta"):
            data = array(program.value(name))
            assert data is not None
            dead = data.copy()
            dead[[1, 4, 5]] = 0
            editor.set_constant(program.value(name), dead)
    outcome = pruned(program, "prune(threshold=0)")
    assert outcome.plans[0].decisions == {"c": {"kind": "channels", "units": 8, "remove": [1, 4, 5]}}
    assert "3 of 8 channels in 1 group, by l2" in outcome.rows[0].note
    feeds, executor = feeds_for(program), OrtExecutor()
    assert errors(executor.run(program, feeds), executor.run(outcome.program, feeds)).max_abs < 1e-5
    assert size_of(outcome.program, "fc") == (10, 5)
    assert pruned(outcome.program, "prune(threshold=0)").rows[0].actions == 0


def test_scopes_and_patterns_choose_groups() -> None:
    program = attention()
    assert list(pruned(program, "prune(ratio=0.5, scope='hidden')").plans[0].decisions) == ["h0"]
    assert list(pruned(program, "prune(ratio=0.5, scope='channels')").plans[0].decisions) == ["q0"]
    assert list(pruned(program, "prune(ratio={'q?': 0.5})").plans[0].decisions) == ["q0"]
    outcome = pruned(program, "prune(ratio={'nothing*': 0.5}, exclude='w1')")
    assert outcome.plans[0].decisions == {}
    reasons = {miss.site: miss.reason for miss in outcome.rows[0].misses}
    assert "names no group that could lose units with 'nothing*'" in reasons["nothing*"]
    assert reasons["h0"] == "left whole: exclude names it ('w1')"
    assert reasons["q0"] == "left whole: no pattern of ratio names it"


@pytest.mark.parametrize("importance", ["text", "function"])
def test_a_users_own_importance_decides(importance: str) -> None:
    chosen = f"{__name__}:even_units_first" if importance == "text" else even_units_first
    one = Prune(ratio=0.5, importance=chosen)
    outcome = run(conv_net(), [one], Context())
    assert outcome.plans[0].decisions["c"]["remove"] == [0, 2, 4, 6]
    assert str(one) == f"prune(ratio=0.5, importance='{__name__}:even_units_first')"
    assert outcome.rows[0].note == f"4 of 8 channels in 1 group, by {__name__}:even_units_first"


def test_global_ranking_removes_as_much_but_not_everywhere_alike() -> None:
    program = attention()
    with program.edit() as editor:
        data = array(program.value("w1"))
        assert data is not None
        editor.set_constant(program.value("w1"), data * np.where(np.arange(256) < 150, 0.05, 1).astype(np.float32))
    groups = program.fact(coupling)
    plans = [pruned(program, f"prune(ratio=0.5, global_ranking={text})").plans[0] for text in ("False", "True")]
    uniform, ranked = (read_decisions(plan, groups) for plan in plans)
    assert len(ranked["h0"]) > 140 > len(uniform["h0"]) == 128
    ours, theirs = (sum(float(groups.group(name).params.mean()) * len(units) for name, units in one.items()) for one in (ranked, uniform))
    assert ours == pytest.approx(theirs, rel=0.06)


# ---- budgets ---------------------------------------------------------------------------------------------------------


def test_a_budget_of_the_run_is_kept_where_nothing_else_is_asked() -> None:
    outcome = pruned(attention(), "prune", Context(budget={"params": 0.8, "metric_drop": 0.01}))
    assert "params 3" in outcome.rows[0].note
    assert outcome.rows[0].actions == 2
    with pytest.raises(PipelineError, match="does not say how much is to go"):
        pruned(attention(), "prune", Context(budget={"metric_drop": 0.01}))


def test_fractions_are_of_the_program_that_the_pipeline_began_with() -> None:
    program = attention()
    half = pruned(program, "prune(budget={'params': 0.6})", Context(original=program)).program
    again = pruned(half, "prune(budget={'params': 0.6})", Context(original=program))
    assert again.rows[0].actions == 0
    assert all("the budget is kept without its" in miss.reason for miss in again.rows[0].misses if miss.site in ("q0", "h0"))
    assert pruned(half, "prune(budget={'params': 0.6})").rows[0].actions > 0


# ---- plans -----------------------------------------------------------------------------------------------------------


def test_a_plan_is_saved_edited_and_carried_out(tmp_path: Path) -> None:
    made = pruned(attention(), "prune(ratio=0.5)").plans[0]
    edited = json.loads(made.to_json())
    del edited["decisions"]["q0"]
    edited["decisions"]["h0"]["remove"] = [3, 17]
    (tmp_path / "plan.json").write_text(json.dumps(edited))
    outcome = pruned(attention(), f"prune(plan={str(tmp_path / 'plan.json')!r})")
    assert size_of(outcome.program, "w1") == (64, 254)
    assert size_of(outcome.program, "wq") == (64, 64)
    assert outcome.rows[0].actions == 1
    (tmp_path / "plan.json").write_text(made.to_json())
    replayed = pruned(attention(), f"prune(plan={str(tmp_path / 'plan.json')!r})")
    assert [a.identity for a in replayed.program.ledger.actions] == [
        a.identity for a in pruned(attention(), "prune(ratio=0.5)").program.ledger.actions
    ]


def test_a_plan_that_does_not_fit_is_refused() -> None:
    made = pruned(attention(), "prune(ratio=0.5)").plans[0]
    with pytest.raises(PlanError, match="made for a program with fingerprint"):
        pruned(conv_net(), "prune", Context(plans={"prune": made}))
    wrong = replace(made, decisions={"h0": {"remove": [256]}})
    with pytest.raises(PlanError, match="removes unit 256 of %h0"):
        pruned(attention(), "prune", Context(plans={"prune": wrong}))
    mixed = replace(made, decisions={"h0": {"remove": [1]}, "w1": {"sparsity": 0.5}})
    with pytest.raises(PlanError, match="whole units and on single weights"):
        pruned(attention(), "prune", Context(plans={"prune": mixed}))
    with pytest.raises(PlanError, match="made by prune, not by quantize"):
        run(attention(), Pipeline.parse("quantize"), Context(plans={"quantize": made}))


def test_a_group_can_be_left_out_without_the_others() -> None:
    outcome = run(attention(), Pipeline.parse("prune(ratio=0.5)"), Context(), accept=lambda action: action.site != "q0")
    assert size_of(outcome.program, "wq") == (64, 64)
    assert size_of(outcome.program, "w1") == (64, 128)


# ---- data ------------------------------------------------------------------------------------------------------------


def calibration(program: Program, count: int = 12) -> list[dict[str, np.ndarray]]:
    """Rows whose features go together, so that what was removed can be told from what is left."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(8, 64)).astype(np.float32)
    return [{"x": (rng.normal(size=(8, 5, 8)) @ mixing / 3).astype(np.float32)} for _ in range(count)]


def test_compensation_is_on_with_calibration_data_and_pays() -> None:
    program, executor = attention(), OrtExecutor()
    data = calibration(program)
    context = Context(calibration=data[:-2], executor=executor)
    test = {"x": np.concatenate([one["x"] for one in data[-2:]])}
    expected = executor.run(program, test)
    with_data, without = (pruned(program, f"prune(ratio=0.5, compensate={text})", context) for text in ("None", "False"))
    assert len(with_data.program.ledger.actions) > len(without.program.ledger.actions) == 2
    assert with_data.plans[0] == without.plans[0]
    fitted, plain = (errors(expected, executor.run(one.program, test)).rel for one in (with_data, without))
    assert fitted < 0.6 * plain
    replayed = pruned(program, "prune", replace(context, plans={"prune": Plan.from_json(with_data.plans[0].to_json())}))
    assert errors(executor.run(with_data.program, test), executor.run(replayed.program, test)).max_abs < 1e-6


def test_a_pruned_program_is_quantized_like_any_other() -> None:
    program, executor, feeds = attention(), OrtExecutor(), feeds_for(attention())
    half = pruned(program, "simplify, prune(ratio=0.5)").program
    small = pruned(half, "quantize")
    assert sum(node.op_type == "MatMulInteger" for node in small.program.nodes()) >= 3
    assert errors(executor.run(half, feeds), executor.run(small.program, feeds)).rel < 0.05
