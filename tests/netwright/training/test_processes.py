"""Two processes on the CPU, started by torchrun: there are two, and together they do what one would do with twice the batch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import cast

import numpy as np
import pytest

import netwright as nw
from netwright.training import train
from netwright.training.checkpoints import CheckpointFolder
from netwright.training.errors import TrainingError
from tests.netwright.training import two_processes
from tests.netwright.training.support import classifier, labelled_rows, same_weights, weights_of

Facts = dict[str, object]


def start(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A module in two processes."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", module]
    return subprocess.run([*launch, *map(str, arguments)], capture_output=True, text=True, check=False)


def facts(folder: Path, rank: int) -> Facts:
    return cast("Facts", json.loads((folder / f"{rank}.json").read_text()))


@pytest.mark.parametrize("kind", ["whole", "split", pytest.param("factored", marks=pytest.mark.slow)])
def test_two_processes_make_the_steps_of_one_with_twice_the_batch(tmp_path: Path, kind: str) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    done = start("tests.netwright.training.two_processes", tmp_path / "two", kind, tmp_path / "checkpoints")
    assert done.returncode == 0, done.stderr[-2000:]
    two_processes.main(str(tmp_path / "one"), kind, batch_size=16)
    alone = facts(tmp_path / "one", 0)
    both = [facts(tmp_path / "two", rank) for rank in (0, 1)]
    assert alone["count"] == 1
    assert [one["count"] for one in both] == [2, 2]

    seen = [cast("list[list[int]]", one["seen"]) for one in both]
    assert [[len(rows) for rows in own] for own in seen] == [[8, 8, 6], [8, 8, 6]]
    assert [first + second for first, second in zip(*seen, strict=True)] == alone["seen"]

    assert both[0]["losses"] == both[1]["losses"]
    assert both[0]["losses"] == pytest.approx(alone["losses"], rel=1e-5)
    assert both[0]["scores"] == both[1]["scores"]
    trained = [nw.load(tmp_path / "two" / f"{rank}.onnx") for rank in (0, 1)]
    assert same_weights(*trained)
    expected = weights_of(nw.load(tmp_path / "one" / "0.onnx"))
    before = weights_of(two_processes.program(kind))
    for name, array in weights_of(trained[0]).items():
        assert not np.array_equal(array, before[name])
        np.testing.assert_allclose(array, expected[name], rtol=1e-4, atol=1e-6)

    saved = CheckpointFolder(tmp_path / "checkpoints").load()
    assert saved is not None
    assert {tensor.shape for tensor in saved.tensors["module"].values()} == {array.shape for array in before.values()}
    assert {"0.cpu", "1.cpu"} <= set(saved.tensors["generators"])


@pytest.mark.slow
def test_the_command_line_trains_in_two_processes_and_writes_once(tmp_path: Path) -> None:
    nw.save(classifier(), tmp_path / "model.onnx")
    np.savez(tmp_path / "rows.npz", allow_pickle=False, **labelled_rows())
    options = ["--training", tmp_path / "rows.npz", "--loss", "cross_entropy", "-o", tmp_path / "out.onnx", "--lr", "0.01", "--json"]
    done = start("netwright", "train", tmp_path / "model.onnx", *options)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["steps"] == 4
    assert not same_weights(nw.load(tmp_path / "out.onnx"), classifier())


def test_an_environment_that_speaks_of_more_processes_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from netwright.training import processes

    class Alone:
        """What `accelerate launch --cpu --num_processes 2` gave: a run that believes that it is the only one."""

        num_processes = 1

        def __init__(self, **options: object) -> None:
            assert options

    monkeypatch.setattr(processes, "Accelerator", Alone)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="2 processes were started, and each sees 1"):
        train(classifier(), labelled_rows(), loss="cross_entropy")
