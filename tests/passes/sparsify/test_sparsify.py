"""`sparsify_activations`: what becomes zero, and that as much does as a drop allows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.errors import ContractError, NetwrightError, PipelineError, PlanError
from netwright.ir.program import Program
from netwright.passes import Context, Pipeline, Plan, run
from netwright.passes.sparsify import FeatureMap, feature_maps
from tests.netwright.training.encoders import encoder, sentences

FEEDS = {"ids": sentences()["ids"][:32]}


def sparse(pipeline: str, program: Program | None = None, context: Context | None = None) -> Program:
    return run(program or encoder(), Pipeline.parse(pipeline), context or Context(calibration=[FEEDS], executor=OrtExecutor())).program


def maps(program: Program) -> dict[str, FeatureMap]:
    return {one.name: one for one in feature_maps(program) if isinstance(one, FeatureMap)}


@pytest.mark.parametrize("operator", [False, True])
@pytest.mark.parametrize("before", ["", "quantize, "])
@pytest.mark.parametrize("after", ["", ", quantize"])
def test_exactly_the_small_values_are_zero_before_and_after_quantize(operator: bool, before: str, after: str) -> None:
    if before and after:
        return
    program = encoder(operator=operator, width=64)
    changed = sparse(f"{before}sparsify_activations(threshold=0.3, where='key'){after}", program)
    one = maps(changed)["k0"]
    values = OrtExecutor().run(changed, FEEDS, [one.raw.name or "", "k0"])
    raw = values[one.raw.name or ""]
    assert 0.05 < np.mean(np.abs(raw) <= 0.3) < 0.95
    assert np.array_equal(values["k0"], np.where(np.abs(raw) <= 0.3, 0, raw))
    assert [node.op_type for node in changed.graph].count("Shrink") == 2


def test_a_share_of_zeros_is_reached_map_by_map() -> None:
    changed = sparse("sparsify_activations(zeros={'value': 0.8, 'ffn': 0.7})")
    for name, share in (("v0", 0.8), ("v1", 0.8), ("r0", 0.7)):
        values = OrtExecutor().run(changed, FEEDS, [name])[name]
        assert np.mean(values == 0) == pytest.approx(share, abs=0.03)
    assert maps(changed)["q0"].shrink is None


def test_zeros_before_a_map_do_not_change_its_share() -> None:
    changed = sparse("sparsify_activations(zeros=0.8, bits=8)")
    names = list(maps(changed))
    values = OrtExecutor().run(changed, FEEDS, names)
    for name in (name for name in names if name[0] in "qkvr"):
        assert np.mean(values[name] == 0) == pytest.approx(0.8, abs=0.05), name


@pytest.mark.parametrize("scheme", ["scheme='static'", "scheme='static', trainable=True"])
@pytest.mark.parametrize("operator", [False, True])
def test_a_static_program_keeps_its_grids_and_loses_no_map(operator: bool, scheme: str) -> None:
    program = encoder(operator=operator, width=64)
    quantized = sparse(f"quantize({scheme})", program)
    found = [one for one in feature_maps(quantized) if isinstance(one, FeatureMap) and one.kind != "softmax"]
    assert [one.kind for one in found] == ["query", "key", "value", "context", "ffn"] * 2
    changed = sparse("sparsify_activations(threshold={'ffn': 0.2, 'context': 0.1, 'key': 0.1}, bits=8)", quantized)
    by_kind = {one.kind: one for one in maps(changed).values()}
    assert [by_kind[kind].threshold for kind in ("ffn", "context", "key")] == pytest.approx([0.2, 0.1, 0.1])
    rounded = [node for node in changed.graph if node.op_type == "QuantizeLinear"]
    assert len(rounded) == len([node for node in quantized.graph if node.op_type == "QuantizeLinear"]) + 2, "only the keys get a grid"
    one = by_kind["ffn"]
    assert one.grid is not None
    values = OrtExecutor().run(changed, FEEDS, [one.raw.name or "", one.grid.outputs[0].name or ""])
    raw, integers = values.values()
    scale, zero = (value.const_value.numpy() for value in one.grid.inputs[1:3])  # type: ignore[union-attr]
    assert np.all(integers.astype(int)[(np.abs(raw) <= 0.2) | (raw < 0)] == int(zero))
    assert np.all(integers.astype(int)[(raw > 0.2 + float(scale)) & (raw > float(scale))] != int(zero))


@pytest.mark.parametrize("scheme", ["static", "dynamic"])
def test_maps_as_int8_before_quantize_are_refused_by_it_with_the_reason(scheme: str) -> None:
    text = f"sparsify_activations(threshold=0.1, bits=8), quantize(scheme='{scheme}')"
    outcome = run(encoder(width=64), Pipeline.parse(text), Context(calibration=[FEEDS], executor=OrtExecutor()))
    assert outcome.rows[1].actions == 0
    assert "already quantized" in outcome.rows[1].misses[0].reason


def test_maps_as_int8_lie_on_the_grid_and_zeros_stay() -> None:
    changed = sparse("sparsify_activations(zeros=0.5, bits=8)")
    one = maps(changed)["q1"]
    assert one.grid is not None
    values = OrtExecutor().run(changed, FEEDS, ["q1", "q1.int8", "q1.shrunk"])
    assert values["q1.int8"].dtype == np.int8
    assert np.abs(values["q1.int8"].astype(int)).max() > 100
    assert np.all(values["q1.int8"][values["q1.shrunk"] == 0] == 0)


def test_a_second_run_changes_the_threshold_and_adds_nothing() -> None:
    once = sparse("sparsify_activations(threshold=0.1, bits=8)")
    again = run(once, Pipeline.parse("sparsify_activations(threshold=0.2)"), Context()).program
    assert len(list(again.graph)) == len(list(once.graph))
    assert all(one.threshold == pytest.approx(0.2) for one in maps(again).values() if one.kind != "softmax")
    same = run(again, Pipeline.parse("sparsify_activations(threshold=0.2)"), Context()).rows[0]
    assert same.actions == 0
    assert any("are zero already" in miss.reason for miss in same.misses)


def fidelity(program: Program, reference: np.ndarray) -> float:
    """Minus the relative error of the logits."""
    found = OrtExecutor().run(program, FEEDS)["logits"]
    return -float(np.linalg.norm(found - reference) / np.linalg.norm(reference))


@pytest.mark.parametrize("drop", [0.02, 0.1])
def test_as_much_is_zero_as_the_metric_may_fall_and_more_than_with_one_share_for_all(drop: float) -> None:
    program = encoder(operator=True)
    reference = OrtExecutor().run(program, FEEDS)["logits"]
    context = Context(calibration=[FEEDS], executor=OrtExecutor(), metric=lambda one: fidelity(one, reference))
    outcome = run(program, Pipeline.parse(f"sparsify_activations(drop={drop})"), context)
    lost = -fidelity(outcome.program, reference)
    assert drop / 3 < lost <= drop + 1e-6
    assert "allowed" in outcome.rows[0].note
    share = zeros(outcome.program)
    uniform = [sparse(f"sparsify_activations(zeros={one})", program) for one in (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6)]
    best = max((zeros(one) for one in uniform if -fidelity(one, reference) <= drop), default=0.0)
    assert share >= best


def test_what_rounding_to_int8_costs_counts_against_the_drop() -> None:
    program = encoder()
    reference = OrtExecutor().run(program, FEEDS)["logits"]
    context = Context(calibration=[FEEDS], executor=OrtExecutor(), metric=lambda one: fidelity(one, reference))
    rounded, plain = (run(program, Pipeline.parse(f"sparsify_activations(drop=0.05{bits})"), context).program for bits in (", bits=8", ""))
    assert 0.0 < -fidelity(rounded, reference) <= 0.05 * 1.05
    assert zeros(rounded) <= zeros(plain) + 0.02


def zeros(program: Program) -> float:
    values = OrtExecutor().run(program, FEEDS, list(maps(program)))
    return sum(int((array == 0).sum()) for array in values.values()) / sum(array.size for array in values.values())


def test_nothing_may_be_lost_and_nothing_is() -> None:
    program = encoder()
    reference = OrtExecutor().run(program, FEEDS)["logits"]
    context = Context(calibration=[FEEDS], executor=OrtExecutor(), metric=lambda one: fidelity(one, reference))
    outcome = run(program, Pipeline.parse("sparsify_activations(drop=0.0)"), context)
    assert fidelity(outcome.program, reference) >= 0.0


def test_a_plan_is_read_edited_and_replayed(tmp_path: Path) -> None:
    program = encoder()
    outcome = run(program, Pipeline.parse("sparsify_activations(threshold=0.1)"), Context())
    plan = outcome.plans[0]
    text = plan.to_json().replace('"threshold": 0.1', '"threshold": 0.4', 1)
    (tmp_path / "plan.json").write_text(text, encoding="utf8")
    replayed = sparse(f"sparsify_activations(plan={str(tmp_path / 'plan.json')!r})", program)
    assert maps(replayed)["q0"].threshold == pytest.approx(0.4)
    assert maps(replayed)["k0"].threshold == pytest.approx(0.1)
    wrong = Plan.from_json(plan.to_json().replace('"q0"', '"nowhere"', 1))
    with pytest.raises(PlanError, match="no feature map"):
        run(program, Pipeline.parse("sparsify_activations(threshold=0.1)"), Context(plans={"sparsify_activations": wrong}))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ("threshold=0.1, zeros=0.5", PipelineError, "threshold and zeros"),
        ("zeros=1.0", PipelineError, "below 1"),
        ("threshold=-1", PipelineError, "from 0"),
        ("drop=-0.1", PipelineError, "drop is -0.1"),
        ("threshold=0.1, bits=4", PipelineError, "bits is 4"),
        ("threshold=0.1, where='nothing'", PipelineError, "fits no feature map"),
        ("threshold={'nothing': 0.1}", PipelineError, "fits no feature map"),
        ("", ContractError, "Nothing says how much"),
        ("drop=0.1", NetwrightError, "needs calibration"),
        ("zeros=0.5", NetwrightError, "calibration"),
    ],
)
def test_what_does_not_go_together_is_refused(options: str, error: type[NetwrightError], message: str) -> None:
    with pytest.raises(error, match=message):
        run(encoder(), Pipeline.parse(f"sparsify_activations({options})"), Context())
