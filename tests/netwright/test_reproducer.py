"""A crash leaves a folder that replays it, from Python and from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType

import pytest

import netwright as nw
from netwright.cli import main
from netwright.compiling import run_with_reproducer
from netwright.ir.errors import PassCrash
from netwright.passes import Context, Pipeline, registry
from netwright.reproducer import read_reproducer
from tests.passes.toy import Crash, DropNeg, ops, program_of


@pytest.fixture
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    toys = {"crash": "tests.passes.toy:Crash", "drop_neg": "tests.passes.toy:DropNeg"}
    monkeypatch.setattr(registry, "BUILTIN", MappingProxyType({**registry.BUILTIN, **toys}))


def test_the_folder_holds_the_graph_before_the_pass_and_the_rest_of_the_pipeline(tmp_path: Path) -> None:
    program = program_of()
    pipeline = Pipeline((DropNeg(limit=2), Crash(), DropNeg()))
    with pytest.raises(PassCrash) as caught:
        run_with_reproducer(program, pipeline, Context(seed=7, dims={"N": 3}), [], folder=str(tmp_path / "repro"))
    assert caught.value.reproducer == str(tmp_path / "repro")
    assert "--repro" in (caught.value.remedy or "")
    model, text, dims, seed = read_reproducer(tmp_path / "repro")
    assert (text, dims, seed) == ("crash, drop_neg", {"N": 3}, 7)
    assert ops(nw.load(model)) == ["Relu", "Relu", "Neg", "Neg", "Neg", "Abs"]
    assert "one by nought" in json.loads((tmp_path / "repro" / "repro.json").read_text())["error"]
    assert ops(program) == ["Neg"] * 5 + ["Abs"]


@pytest.mark.usefixtures("_toys")
def test_the_command_line_exits_with_3_and_replays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, folder = tmp_path / "m.onnx", tmp_path / "repro"
    nw.save(program_of(), path)
    for arguments in (["opt", str(path), "-p", "drop_neg, crash", "--repro-dir", str(folder)], ["opt", "--repro", str(folder)]):
        with pytest.raises(SystemExit) as stop:
            main([*arguments, "--json"])
        error = json.loads(capsys.readouterr().out)["error"]
        assert stop.value.code == 3
        assert error["kind"] == "PassCrash"
        assert Path(error["reproducer"]).is_dir()
