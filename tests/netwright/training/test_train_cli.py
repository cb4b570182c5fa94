"""`netwright train`: what it writes and prints, and how it fails."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import netwright as nw
from netwright.cli import main
from netwright.training.objective import TorchBatch
from netwright.training.terms import Outputs
from tests.netwright.training.support import accuracy, classifier, labelled_rows, same_weights

Command = Callable[..., tuple[int, str, str]]
ROWS = labelled_rows()


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command line in this process: exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        code = stop.value.code
        return (code if isinstance(code, int) else 0), printed.out, printed.err

    return call


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a model, labelled rows and rows without labels."""
    nw.save(classifier(), tmp_path / "model.onnx")
    np.savez(tmp_path / "rows.npz", allow_pickle=False, **ROWS)
    np.savez(tmp_path / "unlabelled.npz", allow_pickle=False, x=ROWS["x"])
    return tmp_path


def interrupted(outputs: Outputs, batch: TorchBatch) -> torch.Tensor:
    """A loss under which somebody presses Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)
    return outputs["logits"].mean()


def test_train_writes_the_model_and_its_history(command: Command, place: Path) -> None:
    arguments = ("--training", place / "rows.npz", "--loss", "cross_entropy", "-o", place / "out.onnx", "--epochs", 20, "--lr", 0.02)
    code, text, _ = command("train", place / "model.onnx", *arguments, "--metric", "accuracy", "--validation", place / "rows.npz", "--json")
    assert code == 0
    report = json.loads(text)
    assert set(report) == {"model", "output", "steps", "losses", "parts", "scores", "best", "stopped_early", "decayed_products"}
    assert (report["steps"], len(report["scores"]), report["output"]) == (160, 21, str(place / "out.onnx"))
    assert accuracy(nw.load(place / "out.onnx"), ROWS) == pytest.approx(max(report["scores"]))
    assert max(report["scores"]) > 0.9


def test_people_get_a_table(command: Command, place: Path) -> None:
    code, text, said = command(
        "train", place / "model.onnx", "--training", place / "rows.npz", "--loss", "cross_entropy", "-o", place / "out.onnx"
    )
    assert code == 0
    assert "loss, 8 steps" in text
    assert f"wrote {place / 'out.onnx'}" in said


def test_a_teacher_teaches_without_labels(command: Command, place: Path) -> None:
    command("train", place / "model.onnx", "--training", place / "rows.npz", "--loss", "cross_entropy", "--epochs", 20, "--lr", 0.02,
            "-o", place / "teacher.onnx")  # fmt: skip
    teacher = accuracy(nw.load(place / "teacher.onnx"), ROWS)
    arguments = (
        "--training",
        place / "unlabelled.npz",
        "--teacher",
        place / "teacher.onnx",
        "--distill",
        "temperature=2.0",
        "--epochs",
        20,
    )
    code, _, said = command("train", place / "model.onnx", *arguments, "--lr", 0.02, "-o", place / "student.onnx")
    assert code == 0, said
    assert accuracy(nw.load(place / "student.onnx"), ROWS) > teacher - 0.05


def test_a_compressor_gives_a_smaller_model(command: Command, place: Path) -> None:
    nw.save(classifier(hidden=128), place / "wide.onnx")
    arguments = ("--training", place / "unlabelled.npz", "--compressor", "quantize(bits=4)", "-o", place / "small.onnx")
    code, _, said = command("train", place / "wide.onnx", *arguments)
    assert code == 0, said
    ops = [node.op_type for node in nw.load(place / "small.onnx").nodes()]
    assert "DequantizeLinear" in ops


def test_a_run_is_stopped_by_ctrl_c_and_resumed(command: Command, place: Path) -> None:
    command_line = (
        "train",
        place / "model.onnx",
        "--training",
        place / "rows.npz",
        "--checkpoint",
        place / "saved",
        "-o",
        place / "o.onnx",
    )
    code, _, said = command(*command_line, "--loss", f"{__name__}:interrupted")
    assert code == 130
    assert "stopped after step 1 of 8" in said
    assert "--resume" in said
    code, _, said = command(*command_line, "--loss", "cross_entropy", "--resume")
    assert code == 1
    assert "made for another run: objective was" in said

    plain = ("train", place / "model.onnx", "--training", place / "rows.npz", "--loss", "cross_entropy")
    assert command(*plain, "--checkpoint", place / "fresh", "-o", place / "whole.onnx")[0] == 0
    assert command(*plain, "--checkpoint", place / "fresh", "--resume", "-o", place / "again.onnx")[0] == 0
    assert same_weights(nw.load(place / "whole.onnx"), nw.load(place / "again.onnx"))


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--loss", "crossentropy"), 1, "no loss named crossentropy"),
        (("--loss", "mse"), 1, "do not fit the output"),
        ((), 1, "nothing to minimise"),
        (("--loss", "nowhere:loss"), 1, "cannot be loaded"),
        (("--loss", "cross_entropy", "--epochs", "0"), 2, "usage error"),
        (("--loss", "cross_entropy", "--schedule", "steps"), 1, "schedule is 'steps'"),
        (("--loss", "cross_entropy", "--distill", "hidden"), 2, "not of the form"),
        (("--loss", "cross_entropy", "--distill", "heat=2"), 1, "no option heat"),
        (("--loss", "cross_entropy", "--resume"), 1, "resume needs a folder"),
    ],
)
def test_mistakes_are_said_in_one_paragraph(command: Command, place: Path, options: tuple[str, ...], code: int, message: str) -> None:
    found, _, said = command("train", place / "model.onnx", "--training", place / "rows.npz", "-o", place / "out.onnx", *options)
    assert found == code
    assert message in said
    assert not (place / "out.onnx").exists()
