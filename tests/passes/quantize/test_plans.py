"""Plans: data that a person can read, edit and give back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.ir.errors import PlanError
from netwright.ir.fingerprint import fingerprint
from netwright.ir.storage import serialize_model
from netwright.passes import Context, Pipeline, Plan
from netwright.passes.quantize import Quantize
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, linear, normal, ops, quantized, reasons
from tests.passes.quantize.test_ties import shared_layers, tied_head


def two_layers() -> Program:
    """Two products in a row."""
    text = f"{HEAD} g (float[N, 64] x, WEIGHTS) => (float[N, 96] y) {{ h = MatMul (x, a)  y = MatMul (h, b) }}"
    return program_of(text, {"a": normal(64, 64), "b": normal(64, 96)})


def test_a_plan_says_what_happens_at_each_site() -> None:
    plan = Quantize(scheme="dynamic").make_plan(tied_head(), Context())
    assert plan.to_dict()["decisions"] == {
        "x": {"scheme": "dynamic", "bits": 8, "axis": "row"},
        "logits": {"scheme": "dynamic", "bits": 8, "axis": "column"},
        "h": {"scheme": "dynamic", "bits": 8, "axis": "column"},
    }


@pytest.mark.parametrize("options", [{"scheme": "dynamic"}, {"scheme": "weights", "bits": 4}])
@pytest.mark.parametrize("make", [two_layers, tied_head, shared_layers])
def test_a_plan_written_to_json_and_replayed_gives_the_identical_file(
    make: Callable[[], Program], options: dict[str, object], tmp_path: Path
) -> None:
    first = quantized(make(), None, **options)
    path = tmp_path / "plan.json"
    path.write_text(first.plans[0].to_json())
    again = quantized(make(), plan=str(path))
    assert serialize_model(first.program.model) == serialize_model(again.program.model)
    assert fingerprint(first.program) == fingerprint(again.program)


def test_a_site_taken_out_of_the_plan_stays_float() -> None:
    plan = Quantize(scheme="dynamic").make_plan(two_layers(), Context())
    edited = replace(plan, decisions={"y": plan.decisions["y"]})
    outcome = quantized(two_layers(), Context(plans={"quantize": edited}))
    assert next(node.op_type for node in outcome.program.nodes() if node.outputs[0].name == "h") == "MatMul"
    assert "MatMulInteger" in ops(outcome.program)


def test_a_tie_of_which_the_plan_leaves_one_out_stays_float_as_a_whole() -> None:
    plan = Quantize(scheme="dynamic").make_plan(shared_layers(), Context())
    edited = replace(plan, decisions={site: plan.decisions[site] for site in ("a1", "y")})
    outcome = quantized(shared_layers(), Context(plans={"quantize": edited}))
    assert outcome.rows[0].actions == 0
    assert "shares %w with %b1, which the plan leaves out" in reasons(outcome)["a1"]


def test_a_plan_for_another_program_is_refused() -> None:
    plan = Quantize(scheme="dynamic").make_plan(two_layers(), Context())
    with pytest.raises(PlanError, match="fingerprint"):
        quantized(linear(), Context(plans={"quantize": plan}))


def test_a_plan_of_another_pass_is_refused() -> None:
    plan = replace(Quantize(scheme="dynamic").make_plan(linear(), Context()), pass_name="prune")
    with pytest.raises(PlanError, match="made by prune, not by quantize"):
        quantized(linear(), Context(plans={"quantize": plan}))


def test_sites_that_are_not_there_are_named() -> None:
    plan = Quantize(scheme="dynamic").make_plan(linear(), Context())
    wrong = replace(plan, decisions={**plan.decisions, "nowhere": plan.decisions["t"]})
    with pytest.raises(PlanError, match="%nowhere"):
        quantized(linear(), Context(plans={"quantize": wrong}))


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        ({"scheme": "ternary"}, "scheme for %t is 'ternary'"),
        ({"scheme": "dynamic", "bits": 9}, "2 to 8 bits, not 9"),
        ({"scheme": "dynamic", "axis": "diagonal"}, "not 'diagonal'"),
        ({"scheme": "dynamic", "outliers": [[3, 3]]}, "a power of two"),
        ({"scheme": "dynamic", "outliers": [[99, 2]]}, "do not fit"),
        ({"scheme": "dynamic", "colour": "red"}, "unknown keys for %t: colour"),
        ({"scheme": "weights", "bits": 5}, "8, 4 or 2 bits"),
        ({"scheme": "weights", "block_size": 7}, "Block sizes"),
    ],
)
def test_a_decision_that_makes_no_sense_is_refused(decision: dict[str, object], said: str) -> None:
    plan = Quantize(scheme="dynamic").make_plan(linear(), Context())
    data = plan.to_dict() | {"decisions": {"t": decision}}
    with pytest.raises(PlanError, match=said):
        quantized(linear(), Context(plans={"quantize": Plan.from_json(json.dumps(data))}))


def test_decisions_of_one_tie_must_agree() -> None:
    plan = Quantize(scheme="dynamic").make_plan(shared_layers(), Context())
    wrong = replace(plan, decisions={**plan.decisions, "y": {"scheme": "dynamic", "bits": 7, "axis": "column"}})
    with pytest.raises(PlanError, match="which read one weight"):
        quantized(shared_layers(), Context(plans={"quantize": wrong}))


def test_auto_says_what_it_chose_and_why() -> None:
    assert "chose dynamic: no calibration data was given" in quantized(linear()).rows[0].note
    with_data = quantized(linear(), Context(calibration=[{"x": normal(1, 2, 64)}], executor=OrtExecutor())).rows[0].note
    assert with_data == "scheme 'auto' chose dynamic"
    text = f"{HEAD} g (float[1, 3, 66, 66] x, WEIGHTS) => (float[1, 8, 64, 64] y) {{ h = Conv (x, w)  y = MatMul (h, a) }}"
    program = program_of(text, {"w": normal(8, 3, 3, 3), "a": normal(64, 64)})
    context = Context(calibration=[{"x": normal(1, 3, 66, 66)}], executor=OrtExecutor())
    assert quantized(program, context).rows[0].note == "scheme 'auto' chose static for convolutions and dynamic for the rest"
    assert quantized(linear(), scheme="dynamic").rows[0].note == ""


def test_a_model_that_is_already_quantized_passes_through_with_a_message() -> None:
    once = quantized(linear(), scheme="dynamic").program
    twice = quantized(once, scheme="weights", bits=4)
    assert twice.rows[0].actions == 0
    assert "already quantized (2 nodes: DynamicQuantizeLinear, MatMulInteger)" in twice.rows[0].note
    assert fingerprint(twice.program) == fingerprint(once)


def test_pipeline_text_prints_back() -> None:
    text = "quantize(scheme='weights', bits=4, block_size=64, exclude=('head*',))"
    assert str(Pipeline.parse(text)) == text
    assert Pipeline.parse("quantize(exclude='head*')").passes == Pipeline.parse("quantize(exclude=['head*'])").passes


def test_corrections_of_a_plan_that_weights_are_trained_after_are_told() -> None:
    text = f"{HEAD} g (float[1, 3, 10, 10] x, WEIGHTS) => (float[1, 8, 8, 8] y) {{ y = Conv (x, w) }}"
    program = program_of(text, {"w": normal(8, 3, 3, 3)})
    context = Context(calibration=[{"x": normal(1, 3, 10, 10)}], executor=OrtExecutor())
    plan = Quantize(scheme="static").make_plan(program, context)
    corrected = replace(plan, decisions={**plan.decisions, "*": {"correct_bias": True}})
    outcome = quantized(program, replace(context, plans={"quantize": corrected}), scheme="static", trainable=True)
    assert "nothing is corrected: weights stay float" in reasons(outcome)["y"]
