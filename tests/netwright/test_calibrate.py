"""`nw.calibrate` and `netwright calibrate`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import netwright as nw
from netwright.cli import main
from netwright.ir.errors import DataError
from tests.passes.programs import attention, conv_net


def images(count: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(count, 3, 8, 8)).astype(np.float32)


def test_all_activations_or_those_that_patterns_name() -> None:
    program = conv_net()
    assert list(nw.calibrate(program, images(4)).tensors) == ["x", "c", "n", "r", "p", "f", "y"]
    found = nw.calibrate(program, images(4), where=["c", "[xy]"], channels={"c": 1})
    assert list(found.tensors) == ["x", "c", "y"]
    assert found.channels["c"].absmax.shape == (8,)
    with pytest.raises(DataError, match="nothing_like_it"):
        nw.calibrate(program, images(4), where="nothing_like_it")


def test_batches_are_cut_and_limited() -> None:
    found = nw.calibrate(conv_net(), {"x": images(10)}, batch_size=4)
    assert (found.runs, found.tensors["x"].count) == (3, 10 * 192)
    found = nw.calibrate(conv_net(), {"x": images(10)}, batch_size=4, limit=2)
    assert (found.runs, found.tensors["x"].count) == (2, 8 * 192)


def test_shapes_may_differ_from_batch_to_batch() -> None:
    program = attention()
    (name,) = (value.name or "" for value in program.inputs)
    rng = np.random.default_rng(0)
    data = [{name: rng.normal(size=(rows, length, 64)).astype(np.float32)} for rows, length in ((1, 3), (4, 17), (2, 1))]
    found = nw.calibrate(program, data)
    assert found.tensors[name].count == 64 * (3 + 68 + 2)


def test_statistics_belong_to_the_program_that_a_pipeline_makes(tmp_path: Path) -> None:
    program = conv_net()
    simplified = nw.compile(program, "simplify", latency=False).program
    nw.calibrate(program, images(4), pipeline="simplify").save(tmp_path / "statistics.npz")
    assert "y" in nw.Statistics.load(tmp_path / "statistics.npz", simplified).tensors
    with pytest.raises(DataError, match="Calibrate again, after the same passes"):
        nw.Statistics.load(tmp_path / "statistics.npz", program)


def test_the_command_writes_statistics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data, output = tmp_path / "m.onnx", tmp_path / "x.npz", tmp_path / "statistics.npz"
    nw.save(conv_net(), model)
    np.savez(data, x=images(6))
    arguments = ["calibrate", str(model), "--calibration", str(data), "-o", str(output)]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--json", "--batch-size", "3"])
    assert stop.value.code == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["runs"] == 2
    row = {one["name"]: one for one in printed["activations"]}["r"]
    assert (row["low"], row["elements"]) == (0, 6 * 8 * 64)
    assert 0.1 < row["zeros"] < 0.9
    assert row["obstacle"] is None
    read = nw.Statistics.load(output, nw.load(model))
    assert read.tensors["r"].high == row["high"]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    shown = capsys.readouterr()
    assert "99.99 % need" in shown.out
    assert "7 activations, 1 runs" in shown.err
    with pytest.raises(SystemExit) as stop:
        main(["calibrate", str(model), "--calibration", str(tmp_path / "none.npz"), "-o", str(output)])
    assert stop.value.code == 1
    assert "no such file" in capsys.readouterr().err.lower()
