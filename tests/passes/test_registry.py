"""Passes of other packages come in by entry point, and what is wrong with one is said."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from netwright.ir.errors import PipelineError
from netwright.passes import Context, Pipeline, pass_names, registry, run
from tests.passes.toy import ops, program_of


@pytest.fixture
def _entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"drop_neg": "tests.passes.toy:DropNeg", "broken": "tests.passes.toy:Nothing", "no_pass": "tests.passes.toy:program_of"}
    found = {name: EntryPoint(name, value, registry.GROUP) for name, value in values.items()}
    monkeypatch.setattr(registry, "_registered", lambda: found)


@pytest.mark.usefixtures("_entry_points")
def test_a_registered_pass_works_in_pipelines() -> None:
    assert "drop_neg" in pass_names()
    outcome = run(program_of(), Pipeline.parse("drop_neg(limit=1), simplify"), Context())
    assert outcome.rows[0].actions == 1
    assert ops(outcome.program).count("Relu") == 1


@pytest.mark.usefixtures("_entry_points")
@pytest.mark.parametrize(
    ("name", "message"), [("broken", "does not load"), ("no_pass", "is not a netwright pass"), ("none", "There is no pass")]
)
def test_what_cannot_be_loaded_is_named(name: str, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        Pipeline.parse(name)
