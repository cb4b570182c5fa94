"""Products of two activations are put on grids for chips, where writing arrays costs less, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netwright.backends.cim.arch import preset
from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.errors import PipelineError, PlanError
from netwright.ir.program import Program, array
from netwright.passes import Context, Outcome, Pipeline, run
from netwright.passes.plan import Plan
from netwright.passes.quantize.deciding import make_plan
from netwright.passes.quantize.quantize import Quantize
from tests.backends.cim.attention import context, feeds, in_integers, model

CHIP = preset()
STATIC = Pipeline.parse("simplify, quantize(scheme='static'), fold")


def zero_of(program: Program, node: str, operand: int) -> np.ndarray:
    """The zero point of a product's operand."""
    (product,) = [one for one in program.nodes("MatMul") if one.outputs[0].name == node]
    value = product.inputs[operand]
    maker = value.producer() if value is not None else None
    assert maker is not None
    assert maker.op_type == "DequantizeLinear", f"{node} reads floats"
    found = array(maker.inputs[2])
    assert found is not None
    return found


def test_both_operands_are_integers_and_the_right_one_is_around_0() -> None:
    program = in_integers(CHIP).program
    for node in ("s", "o.float"):
        assert zero_of(program, node, 0).dtype == np.uint8
        assert zero_of(program, node, 1).dtype == np.int8
        assert zero_of(program, node, 1) == 0
    assert zero_of(program, "s", 0) > 0
    assert zero_of(program, "o.float", 0) == 0, "probabilities begin at 0"


def test_what_others_read_too_keeps_the_grid_that_it_has() -> None:
    program = in_integers(CHIP, fused=True).program
    assert zero_of(program, "s", 1).dtype == np.uint8
    assert zero_of(program, "s", 1) == zero_of(program, "s", 0) > 0


def reason(outcome: Outcome, name: str) -> str:
    found = {miss.site: miss.reason for row in outcome.rows for miss in row.misses}
    assert name in found, found
    return found[name]


def test_short_sequences_stay_float_with_both_prices() -> None:
    outcome = in_integers(CHIP, "attention='auto'")
    why = reason(outcome, "s")
    assert "vector units cost less (" in why
    assert "to write 1,536 cells" in why
    assert "attention='arrays'" in why


def test_what_pays_is_decided_by_the_chip() -> None:
    quick = replace(
        CHIP, array=replace(CHIP.array, cycle_ns=0.001), tile=replace(CHIP.tile, vector=replace(CHIP.tile.vector, pj_per_mac=99.0))
    )
    program = in_integers(quick, "attention='auto'").program
    assert zero_of(program, "s", 1) == 0


def test_the_user_decides_before() -> None:
    assert "attention='vector'" in reason(in_integers(CHIP, "attention='vector'"), "s")
    outcome = in_integers(CHIP, "attention='arrays', exclude='s'")
    assert "exclude names it" in reason(outcome, "s")
    assert zero_of(outcome.program, "o.float", 1) == 0
    with pytest.raises(PipelineError, match="attention"):
        Quantize(attention="tiles")  # pyright: ignore[reportArgumentType]


def test_other_targets_leave_them_float() -> None:
    outcome = run(model(), STATIC, Context(calibration=[feeds(8, 1)], executor=OrtExecutor()))
    assert "both operands" in reason(outcome, "s")
    assert "are computed" in reason(outcome, "s")


def made() -> tuple[Program, Plan]:
    program = model()
    return program, make_plan(Quantize(scheme="static", attention="arrays"), program, context(CHIP))


def test_a_plan_is_carried_out_without_data_or_chip() -> None:
    program, plan = made()
    outcome = run(program, (Quantize(scheme="static"),), Context(plans={"quantize": Plan.from_json(plan.to_json())}))
    assert zero_of(outcome.program, "s", 1) == 0


def test_a_plan_cannot_ask_for_what_they_have_not() -> None:
    program, plan = made()
    for decision in ({"scheme": "dynamic"}, {"scheme": "weights", "bits": 8, "block_size": 32, "symmetric": False}):
        wrong = replace(plan, decisions={**plan.decisions, "s": decision})
        with pytest.raises(PlanError, match="s"):
            run(program, (Quantize(scheme="static"),), Context(plans={"quantize": wrong}))


@pytest.mark.parametrize("more", ["recipe='fast'", "correct_bias=True", "rounding='gptq'", "budget={'bits': 6}"])
def test_other_options_leave_them_alone(more: str) -> None:
    program = in_integers(CHIP, f"attention='arrays', {more}").program
    assert zero_of(program, "s", 1).dtype == np.int8
    assert zero_of(program, "o.float", 1).dtype == np.int8


def test_a_metric_may_send_them_back() -> None:
    def metric(program: Program) -> float:
        return -float(sum(node.op_type == "QuantizeLinear" for node in program.graph))

    told = replace(context(CHIP), metric=metric)
    outcome = run(model(), Pipeline.parse("quantize(scheme='static', attention='arrays', metric_drop=2)"), told)
    assert "with all sites quantized the metric is" in reason(outcome, "s")
