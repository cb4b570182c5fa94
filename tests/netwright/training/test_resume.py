"""A run that was stopped anywhere ends with the weights of one that was not."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np
import pytest
import torch

import netwright as nw
from netwright.data import DataLike
from netwright.ir.program import Program
from netwright.training import train
from netwright.training.checkpoints import CheckpointFolder
from netwright.training.errors import CheckpointError
from netwright.training.objective import TorchBatch
from netwright.training.terms import Outputs
from tests.netwright.training import resumable
from tests.netwright.training.support import classifier, history_of, labelled_rows, same_weights

ROWS = labelled_rows(128)


def start(folder: Path, output: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.netwright.training.resumable", str(folder), str(output)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_killed_at_a_random_step_and_resumed_it_ends_with_the_same_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resumable.main(str(tmp_path / "whole"), str(tmp_path / "whole.onnx"))
    chosen = random.SystemRandom()
    folder, output = tmp_path / "killed", tmp_path / "killed.onnx"
    killed_at = chosen.randrange(4, resumable.STEPS)
    run = start(folder, output)
    assert run.stdout is not None
    for _ in range(killed_at):
        assert run.stdout.readline() == "step\n"
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    run.stdout.close()
    assert not output.exists()
    left = CheckpointFolder(folder).steps()
    assert left, f"killed at step {killed_at}, and nothing was saved"

    capsys.readouterr()
    resumable.main(str(folder), str(output))
    assert capsys.readouterr().out.count("step\n") == resumable.STEPS - max(left)
    assert same_weights(nw.load(output), nw.load(tmp_path / "whole.onnx")), f"killed at step {killed_at}"


def cross_entropy(outputs: Outputs, batch: TorchBatch) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(outputs["logits"], batch["labels"])


class Stopped(Exception):
    """Ends a run from inside, as a crash would."""


class Options(TypedDict, total=False):
    """What the tests vary."""

    epochs: int
    lr: float
    optimizer: str
    metric: str
    validation: DataLike
    batch_size: int | None
    accumulate: int
    checkpoint_every: int | None
    checkpoint_keep: int
    seed: int
    train_norms: bool


def run(
    data: DataLike, folder: Path | None = None, *, crash_at: int | None = None, resume: bool = False, **options: Unpack[Options]
) -> Program:
    """A run with dropout; it crashes at a step if asked to."""
    calls = [0]

    def named_the_same(outputs: Outputs, batch: TorchBatch) -> torch.Tensor:
        calls[0] += 1
        if calls[0] == crash_at:
            raise Stopped
        return cross_entropy(outputs, batch)

    given: Options = {"epochs": 2, "lr": 1e-2, "batch_size": 16, "checkpoint_every": None if folder is None else 1, **options}
    return train(classifier(dropout=True), data, loss=named_the_same, checkpoint=folder, resume=resume, threads=1, **given)


@pytest.mark.parametrize(("optimizer", "crash_at"), [("adamw", 2), ("adamw", 9), ("adamw", 16), ("sgd", 9), ("rmsprop", 9)])
def test_a_crash_at_any_place_of_an_epoch_loses_nothing(tmp_path: Path, optimizer: str, crash_at: int) -> None:
    whole = run(ROWS, optimizer=optimizer)
    with pytest.raises(Stopped):
        run(ROWS, tmp_path, optimizer=optimizer, crash_at=crash_at)
    resumed = run(ROWS, tmp_path, optimizer=optimizer, resume=True)
    assert same_weights(resumed, whole)
    assert history_of(resumed) == history_of(whole)


def shuffled_loader() -> torch.utils.data.DataLoader[dict[str, torch.Tensor]]:
    rows = torch.utils.data.TensorDataset(torch.tensor(ROWS["x"]), torch.tensor(ROWS["labels"]))
    return torch.utils.data.DataLoader(rows, batch_size=16, shuffle=True)  # pyright: ignore[reportReturnType]


def listed() -> list[dict[str, np.ndarray]]:
    return [{name: array[start : start + 16] for name, array in ROWS.items()} for start in range(0, 128, 16)]


def generated() -> Iterator[dict[str, np.ndarray]]:
    return iter(listed())


def made_anew() -> Callable[[], Iterator[dict[str, np.ndarray]]]:
    return generated


@pytest.mark.parametrize("data", [shuffled_loader, listed, made_anew])
def test_every_form_of_data_goes_on_where_it_stopped(tmp_path: Path, data: Callable[[], DataLike]) -> None:
    whole = run(data(), batch_size=None, accumulate=2)
    with pytest.raises(Stopped):
        run(data(), tmp_path, batch_size=None, accumulate=2, crash_at=12)
    assert same_weights(run(data(), tmp_path, batch_size=None, accumulate=2, resume=True), whole)


def test_the_best_epoch_before_the_stop_is_still_the_best(tmp_path: Path) -> None:
    options: Options = {"checkpoint_every": 7, "epochs": 4, "lr": 0.3, "optimizer": "sgd", "metric": "accuracy", "validation": ROWS}
    whole = run(ROWS, **{**options, "checkpoint_every": None})
    with pytest.raises(Stopped):
        run(ROWS, tmp_path, crash_at=30, **options)
    resumed = run(ROWS, tmp_path, resume=True, **options)
    assert history_of(resumed) == history_of(whole)
    assert same_weights(resumed, whole)


def test_a_finished_run_that_is_resumed_makes_no_further_step(tmp_path: Path) -> None:
    finished = run(ROWS, tmp_path)
    assert same_weights(run(ROWS, tmp_path, resume=True, crash_at=1), finished)


def test_checkpoints_come_after_each_epoch_where_nothing_is_said(tmp_path: Path) -> None:
    run(ROWS, tmp_path, checkpoint_every=None, epochs=3, checkpoint_keep=5)
    assert CheckpointFolder(tmp_path).steps() == [8, 16, 24]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 1e-3}, r"lr was 0.01 and is 0.001"),
        ({"epochs": 3}, r"epochs was 2 and is 3"),
        ({"seed": 1}, r"seed was 0 and is 1"),
        ({"batch_size": 8}, r"batch_size was 16 and is 8"),
        ({"train_norms": True}, r"objective was .* norms trained"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_with_the_difference(tmp_path: Path, change: Options, message: str) -> None:
    run(ROWS, tmp_path)
    with pytest.raises(CheckpointError, match=message):
        run(ROWS, tmp_path, resume=True, **change)
    with pytest.raises(CheckpointError, match=r"data was '128 rows' and is '64 rows'"):
        run({name: array[:64] for name, array in ROWS.items()}, tmp_path, resume=True)


def test_another_model_is_told_from_the_one_that_was_saved(tmp_path: Path) -> None:
    train(classifier(), ROWS, loss="cross_entropy", checkpoint=tmp_path)
    wider = classifier(ending="w3 = Constant <value_float: float = 1.0> ()\n logits = Mul (z, w3)")
    with pytest.raises(CheckpointError, match="made for another run"):
        train(wider, ROWS, loss="mse", checkpoint=tmp_path, resume=True)


def test_a_damaged_checkpoint_stops_the_run_and_the_one_before_serves(tmp_path: Path) -> None:
    whole = run(ROWS)
    with pytest.raises(Stopped):
        run(ROWS, tmp_path, crash_at=7)
    newest = tmp_path / "step-00000006"
    weights = newest / "module.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x55")
    with pytest.raises(CheckpointError, match="step-00000006 is damaged"):
        run(ROWS, tmp_path, resume=True)
    shutil.rmtree(newest)
    assert same_weights(run(ROWS, tmp_path, resume=True), whole)
