"""The pass `recover`: training in a pipeline is one action, like any other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import netwright as nw
from netwright.cli import main
from netwright.compiling import Result
from netwright.data import DataLike
from netwright.ir.errors import ContractError, PipelineError
from netwright.ir.program import Program
from netwright.ir.verify import verify
from netwright.passes import Context, Pipeline, run
from netwright.training import TrainingError
from netwright.training.objective import TorchBatch
from netwright.training.sampling import TrainingData
from netwright.training.terms import Outputs
from tests.netwright.training.support import accuracy, classifier, labelled_rows, same_weights, weights_of

ROWS = labelled_rows()
RECOVER = "recover(epochs=4, lr=0.01)"


def cross_entropy(outputs: Outputs, batch: TorchBatch) -> torch.Tensor:
    """For a path of the form module:function too."""
    return torch.nn.functional.cross_entropy(outputs["logits"], batch["labels"])


def compiled(pipeline: str, training: DataLike = ROWS, loss: object = "cross_entropy", program: Program | None = None) -> Result:
    return nw.compile(program or classifier(), pipeline, training=training, loss=loss, latency=False)  # pyright: ignore[reportArgumentType]


def trained_and_damaged() -> tuple[Program, Program]:
    """A program that is good at its task, and the same with three quarters of its hidden units zeroed."""
    good = nw.compile(classifier(), "recover(epochs=20, lr=0.02)", training=ROWS, loss="cross_entropy", latency=False).program
    damaged = good.clone()
    w1 = weights_of(good)["w1"]
    w1[:, 4:] = 0
    with damaged.edit() as editor:
        editor.set_constant(damaged.value("w1"), w1)
    return good, damaged


def test_recover_wins_back_what_damage_cost_with_labels_and_without() -> None:
    good, damaged = trained_and_damaged()
    assert accuracy(damaged, ROWS) < accuracy(good, ROWS) - 0.1
    labelled = compiled("recover(epochs=20, lr=0.02)", program=damaged).program
    assert accuracy(labelled, ROWS) > accuracy(good, ROWS) - 0.05
    context = Context(training=TrainingData({"x": ROWS["x"]}, damaged), original=good)
    distilled = run(damaged, Pipeline.parse("recover(epochs=20, lr=0.02, distill=True)"), context).program
    assert accuracy(distilled, ROWS) > accuracy(good, ROWS) - 0.05


def test_all_weights_change_in_one_action_that_tells_the_loss() -> None:
    program = classifier()
    before = weights_of(program)
    result = compiled(f"simplify, {RECOVER}", program=program)
    verify(result.program)
    (action,) = [one for one in result.program.ledger.actions if one.rule == "recover"]
    assert action.number == "1:recover#1"
    assert action.why.startswith("32 steps of training set 2 tensors; loss ")
    row = result.report.passes[1]
    assert (row.actions, row.misses) == (1, [])
    after = weights_of(result.program)
    assert all(not np.array_equal(after[name], before[name]) for name in ("w1", "w2"))
    assert all(np.array_equal(before[name], array) for name, array in weights_of(program).items())
    assert accuracy(result.program, ROWS) > accuracy(program, ROWS) + 0.2


def test_it_can_be_declined_and_stopped_at() -> None:
    program = classifier()
    context = Context(training=TrainingData(ROWS, program), loss="cross_entropy")
    pipeline = Pipeline.parse(f"{RECOVER}, recover(epochs=1, lr=0.5, optimizer='sgd')")
    declined = run(program, pipeline, context, accept=lambda action: False)
    assert same_weights(declined.program, program)
    first = run(program, pipeline, context, until="0:recover#1")
    assert first.stopped
    assert same_weights(first.program, compiled(RECOVER).program)


def test_the_same_pipeline_gives_the_same_weights() -> None:
    assert same_weights(compiled(RECOVER).program, compiled(RECOVER).program)


def test_a_loss_may_be_a_function() -> None:
    assert same_weights(compiled(RECOVER, loss=cross_entropy).program, compiled(RECOVER).program)


def test_data_that_holds_everything_is_cut_into_batches_and_lists_are_taken_as_they_are() -> None:
    whole = compiled("recover(epochs=1)").program.ledger.actions[0]
    assert whole.why.startswith("8 steps")
    halves = [{name: array[start : start + 128] for name, array in ROWS.items()} for start in (0, 128)]
    assert compiled("recover(epochs=1)", halves).program.ledger.actions[0].why.startswith("2 steps")
    assert compiled("recover(epochs=1, batch_size=64)", halves).program.ledger.actions[0].why.startswith("4 steps")


def test_training_that_changes_nothing_is_a_miss() -> None:
    result = compiled("recover(lr=1e-300, weight_decay=0.0)")
    assert [miss.reason for miss in result.report.passes[0].misses] == ["training changed no weight"]
    assert same_weights(result.program, classifier())


@pytest.mark.parametrize(
    ("pipeline", "given", "missing"),
    [
        ("recover", {}, "loss"),
        ("recover", {"loss": "mse"}, "training"),
        ("simplify, recover(distill=True)", {"loss": "mse"}, "training"),
    ],
)
def test_what_is_missing_is_said_before_anything_runs(pipeline: str, given: dict[str, str], missing: str) -> None:
    with pytest.raises(ContractError, match=rf"recover needs {missing}, and none was given.*Give {missing}="):
        nw.compile(classifier(), pipeline, latency=False, **given)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("text", ["recover(epochs=0)", "recover(schedule='steps')", "recover(distill={'heat': 2.0})"])
def test_options_out_of_range_are_refused_when_the_pipeline_is_read(text: str) -> None:
    with pytest.raises(TrainingError):
        Pipeline.parse(text)
    with pytest.raises(PipelineError, match="no option epoch"):
        Pipeline.parse("recover(epoch=1)")


def test_options_print_and_parse_back() -> None:
    text = "recover(steps=5, lr=0.01, distill={'hidden': 'auto', 'temperature': 2.0})"
    assert str(Pipeline.parse(text)) == text


def test_a_quantized_program_recovers_its_scales_or_weights() -> None:
    good, _ = trained_and_damaged()
    result = compiled("quantize(scheme='weights'), recover(epochs=2, lr=0.002)", program=good)
    verify(result.program)
    assert accuracy(result.program, ROWS) > accuracy(good, ROWS) - 0.05


def test_it_works_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nw.save(classifier(), tmp_path / "model.onnx")
    np.savez(tmp_path / "rows.npz", allow_pickle=False, **ROWS)
    for loss in ("cross_entropy", f"{__name__}:cross_entropy"):
        out = tmp_path / "out.onnx"
        arguments = ["--training", tmp_path / "rows.npz", "--loss", loss, "-p", f"simplify, {RECOVER}", "-o", out, "--json"]
        with pytest.raises(SystemExit) as stop:
            main([str(one) for one in ("compile", tmp_path / "model.onnx", *arguments)])
        assert not stop.value.code
        assert json.loads(capsys.readouterr().out)["passes"][1]["actions"] == 1
        assert accuracy(nw.load(out), ROWS) > 0.7
