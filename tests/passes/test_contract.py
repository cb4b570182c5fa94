"""What every registered pass must keep to, on every sample program: one test covers each new pass by itself."""

from __future__ import annotations

import dataclasses

import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.catalog import describe
from netwright.ir.dump import dump
from netwright.ir.origin import origin_of
from netwright.ir.verify import verify
from netwright.passes import Context, Lossy, Pipeline, Plan, pass_class, pass_names, run
from netwright.passes.values import errors, within
from tests.passes.programs import PROGRAMS, feeds_for


@pytest.mark.parametrize("name", pass_names())
def test_a_pass_is_frozen_data_with_help_and_documented_options(name: str) -> None:
    cls = pass_class(name)
    info = describe(name)
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    assert info.summary.endswith(".")
    assert [option.name for option in info.options if not option.help] == []


@pytest.mark.parametrize("name", pass_names())
def test_options_print_and_parse_back(name: str) -> None:
    for one in Pipeline.parse(name):
        assert Pipeline.parse(str(one)).passes == (one,)


@pytest.mark.parametrize("sample", PROGRAMS)
@pytest.mark.parametrize("name", pass_names())
def test_a_pass_keeps_its_promises(name: str, sample: str) -> None:
    cls = pass_class(name)
    if cls().needs():
        pytest.skip(f"needs {', '.join(sorted(cls().needs()))}")
    program = PROGRAMS[sample]()
    verify(program)
    before = set(program.nodes())
    executor = OrtExecutor()
    feeds = feeds_for(program)
    expected = executor.run(program, feeds)

    outcome = run(program, [cls()], Context(), verify_each=True)
    verify(outcome.program)
    again = run(outcome.program, [cls()], Context()).rows[0]

    assert [node for node in program.nodes() if node not in before] == []
    numbers = {action.number for action in outcome.program.ledger.actions}
    original_names = {value.name for node in before for value in node.outputs}
    for node in outcome.program.nodes():
        made = node.outputs[0].name not in original_names
        assert not made or set(origin_of(node).by) & numbers, f"{node.op_type} %{node.outputs[0].name} has no origin"
    if not isinstance(cls.numerics, Lossy):
        assert within(errors(expected, executor.run(outcome.program, feeds)), cls.numerics)
    else:
        stats = errors(expected, executor.run(outcome.program, feeds))
        assert stats.rel < 0.1
    if cls.fixpoint:
        assert again.actions == 0
    for plan in outcome.plans.values():
        assert Plan.from_json(plan.to_json()) == plan
        replayed = run(PROGRAMS[sample](), [cls()], Context(plans={plan.pass_name: plan}))
        assert [a.identity for a in replayed.program.ledger.actions] == [a.identity for a in outcome.program.ledger.actions]


@pytest.mark.parametrize("sample", PROGRAMS)
def test_passes_are_deterministic(sample: str) -> None:
    program = PROGRAMS[sample]()
    first, second = (run(program, Pipeline.parse("simplify, quantize"), Context()).program for _ in range(2))
    assert dump(first) == dump(second)
