"""The pass manager: numbering, stopping, declining, misses, contracts, crashes, plans, oracle checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import onnx
import onnx.reference
import onnx_ir
import pytest

from netwright.ir import Program
from netwright.ir.errors import CheckError, ContractError, NetwrightError, PassCrash
from netwright.ir.origin import origin_of
from netwright.passes import Context, Plan, Rewrite, run
from netwright.passes.instruments import OracleCheck, PrintStages
from tests.passes.toy import Crash, DropNeg, Lie, NeedsData, Planned, Settled, ops, program_of


class ReferenceExecutor:
    """Runs programs with onnx's reference evaluator."""

    def run(self, program: Program, feeds: Mapping[str, np.ndarray], wanted: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        session = onnx.reference.ReferenceEvaluator(onnx_ir.to_proto(program.model))
        names = [value.name or "" for value in program.outputs]
        outputs = cast("list[np.ndarray]", session.run(None, dict(feeds)))
        return dict(zip(names, outputs, strict=True))


def test_the_callers_program_is_left_as_it_was() -> None:
    program = program_of()
    outcome = run(program, [DropNeg()], Context())
    assert ops(program) == ["Neg"] * 5 + ["Abs"]
    assert ops(outcome.program) == ["Relu"] * 5 + ["Abs"]
    assert not program.ledger.actions


def test_actions_are_numbered_by_pass_and_count() -> None:
    outcome = run(program_of(), [DropNeg(limit=2), DropNeg()], Context())
    assert [action.number for action in outcome.program.ledger.actions] == [
        "0:drop_neg#1",
        "0:drop_neg#2",
        "1:drop_neg#1",
        "1:drop_neg#2",
        "1:drop_neg#3",
    ]
    assert [row.actions for row in outcome.rows] == [2, 3]
    made = outcome.program.value("c").producer()
    assert made is not None
    assert origin_of(made).by == ("1:drop_neg#1",)


def test_misses_stand_in_the_row_and_the_ledger_with_their_reason() -> None:
    outcome = run(program_of(), [DropNeg(limit=4)], Context())
    assert [(miss.site, miss.reason, miss.rule) for miss in outcome.rows[0].misses] == [("e", "limit 4 reached", "drop_neg")]
    assert outcome.program.ledger.misses == outcome.rows[0].misses


def test_until_is_inclusive_and_ends_the_run() -> None:
    outcome = run(program_of(), [DropNeg(limit=2), DropNeg()], Context(), until="1:drop_neg#1")
    assert ops(outcome.program) == ["Relu", "Relu", "Relu", "Neg", "Neg", "Abs"]
    assert outcome.stopped


def test_until_an_action_that_never_happens_is_an_error() -> None:
    with pytest.raises(NetwrightError, match="drop_neg made 5"):
        run(program_of(), [DropNeg()], Context(), until="0:drop_neg#6")


def test_leaving_an_action_out_does_not_rename_the_others() -> None:
    every = run(program_of(), [DropNeg()], Context())
    identities = [action.identity for action in every.program.ledger.actions]
    some = run(program_of(), [DropNeg()], Context(), accept=lambda action: action.site != "c")
    assert [action.identity for action in some.program.ledger.actions] == [i for i in identities if i[2] != "c"]
    assert [action.number for action in some.program.ledger.actions][-1] == "0:drop_neg#5"
    assert ops(some.program) == ["Relu", "Relu", "Neg", "Relu", "Relu", "Abs"]


def test_missing_data_is_said_before_anything_runs() -> None:
    program = program_of()
    program.properties = frozenset({"Trainable"})
    with pytest.raises(ContractError, match="needs calibration"):
        run(program, [DropNeg(), NeedsData()], Context())


def test_an_order_that_contracts_forbid_is_refused() -> None:
    program = program_of()
    program.properties = frozenset({"Trainable"})
    with pytest.raises(ContractError, match="which needs_data breaks"):
        run(program, [NeedsData(), NeedsData()], Context(calibration=[]))


def test_a_crash_names_the_pass_and_leaves_the_program() -> None:
    program = program_of()
    with pytest.raises(PassCrash) as caught:
        run(program, [DropNeg(), Crash()], Context())
    assert caught.value.pass_index == 1
    assert caught.value.place == "y"
    assert ops(program) == ["Neg"] * 5 + ["Abs"]


def test_a_plan_is_kept_and_its_misses_reported() -> None:
    outcome = run(program_of(), [Planned()], Context())
    assert ops(outcome.program) == ["Relu", "Relu", "Neg", "Neg", "Neg", "Abs"]
    assert list(outcome.plans[0].decisions) == ["a", "b"]
    assert [miss.site for miss in outcome.rows[0].misses] == ["c", "d", "e"]


def test_a_given_plan_is_carried_out_instead_of_making_one() -> None:
    plan = Plan(pass_name="planned", fingerprint="test", decisions={"d": {"into": "Sqrt"}})
    outcome = run(program_of(), [Planned()], Context(plans={"planned": plan}))
    assert ops(outcome.program) == ["Neg", "Neg", "Neg", "Sqrt", "Neg", "Abs"]


def test_a_pass_settles_after_its_plan_with_the_program_from_before_at_hand() -> None:
    context = Context(calibration=[], metric=lambda program: 0.0)
    outcome = run(program_of(), [Settled()], context)
    assert ops(outcome.program) == ["Relu", "Relu", "Neg", "Neg", "Neg", "Abs", "Abs", "Abs"]
    assert [action.number for action in outcome.program.ledger.actions] == [f"0:settled#{count}" for count in (1, 2, 3, 4)]
    assert outcome.rows[0].misses[-1].reason == "2 of 2 Neg are gone"
    declined = run(program_of(), [Settled()], context, accept=lambda action: action.site != "a")
    assert declined.rows[0].misses[-1].reason == "1 of 2 Neg are gone"
    by_itself = [proposal for proposal in Settled().rewrites(program_of(), context) if not isinstance(proposal, Rewrite)]
    assert by_itself[-1].reason == "0 of 2 Neg are gone"  # nobody applied what was proposed


def test_a_pass_without_data_to_settle_with_does_not() -> None:
    outcome = run(program_of(), [Settled()], Context(metric=lambda program: 0.0))
    assert ops(outcome.program) == ["Relu", "Relu", "Neg", "Neg", "Neg", "Abs"]


def test_a_given_plan_needs_nothing_that_deciding_takes() -> None:
    with pytest.raises(ContractError, match="needs metric"):
        run(program_of(), [Settled()], Context())
    plan = Plan(pass_name="settled", fingerprint="test", decisions={"d": {"into": "Sqrt"}})
    assert ops(run(program_of(), [Settled()], Context(plans={"settled": plan})).program)[3] == "Sqrt"


def test_a_plan_survives_json() -> None:
    plan = Planned().make_plan(program_of(), Context())
    assert Plan.from_json(plan.to_json()) == plan


def test_the_oracle_check_fills_in_the_errors() -> None:
    feeds = [{"x": np.array([[1.0, -2.0, 3.0, -4.0]], np.float32)}]
    outcome = run(program_of(), [DropNeg()], Context(), instruments=[OracleCheck(ReferenceExecutor(), feeds)])
    assert outcome.rows[0].max_abs_error == 4.0
    assert outcome.rows[0].rel_error == pytest.approx(np.sqrt(20 / 30))


def test_a_pass_that_breaks_its_promise_is_found_out() -> None:
    feeds = [{"x": np.ones((1, 4), np.float32)}]
    with pytest.raises(CheckError, match="After lie"):
        run(program_of(), [Lie()], Context(), instruments=[OracleCheck(ReferenceExecutor(), feeds)])


def test_dumps_are_written_after_passes_that_changed_something() -> None:
    texts: list[str] = []
    run(program_of(), [DropNeg(), DropNeg()], Context(), instruments=[PrintStages(texts.append, after="changed")])
    assert len(texts) == 1
    assert "Relu" in texts[0]


def test_the_collector_is_on_again_afterwards() -> None:
    import gc

    assert gc.isenabled()
    run(program_of(), [DropNeg()], Context())
    assert gc.isenabled()
