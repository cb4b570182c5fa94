"""The pass `prune_train`, and the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import netwright as nw
from netwright.cli import main
from netwright.compiling import Result
from netwright.ir.errors import ContractError
from netwright.ir.sparsity import zeros_by_weight
from netwright.ir.zeros import zeros_kept
from netwright.passes import Pipeline
from netwright.training import TrainingError
from tests.netwright.training.support import accuracy, classifier, labelled_rows, same_weights, weights_of

ROWS = labelled_rows()
PRUNE = "prune_train(epochs=20, lr=0.02, sparsity=0.6)"


def compiled(pipeline: str, **options: object) -> Result:
    given = {"training": ROWS, "loss": "cross_entropy", "latency": False, "threads": 1, **options}
    return nw.compile(classifier(), pipeline, **given)  # pyright: ignore[reportArgumentType]


def test_one_action_tells_the_zeros_of_each_weight_and_they_are_exact() -> None:
    result = compiled(f"simplify, {PRUNE}")
    (action,) = [one for one in result.program.ledger.actions if one.rule == "prune_train"]
    zeros = {weight.name: weight for weight in zeros_by_weight(result.program)}
    assert sum(zeros[name].zeros for name in ("w1", "w2")) >= 0.6 * sum(zeros[name].size for name in ("w1", "w2"))
    assert f"w1 {zeros['w1'].share:.1%}, w2 {zeros['w2'].share:.1%}" in action.why
    assert accuracy(result.program, ROWS) > 0.75


def test_later_passes_that_train_keep_the_zeros() -> None:
    result = compiled(f"{PRUNE}, recover(epochs=3, lr=0.02)")
    pruned = compiled(PRUNE)
    assert set(zeros_kept(pruned.program)) == {"w1", "w2"}
    for name in ("w1", "w2"):
        before, after = weights_of(pruned.program)[name], weights_of(result.program)[name]
        assert np.array_equal(before == 0, after == 0)
        assert not np.array_equal(before, after)


def test_it_learns_from_the_original_where_there_are_no_labels() -> None:
    teacher = nw.train(classifier(), ROWS, loss="cross_entropy", epochs=20, lr=2e-2, threads=1)
    pipeline = "prune_train(epochs=20, lr=0.02, sparsity=0.5, distill=True)"
    result = nw.compile(teacher, pipeline, training={"x": ROWS["x"]}, latency=False, threads=1)
    assert accuracy(result.program, ROWS) > accuracy(teacher, ROWS) - 0.12


def test_what_is_missing_is_said_before_any_pass_runs() -> None:
    with pytest.raises(TrainingError, match="neither a penalty nor a share of zeros"):
        compiled("recover(epochs=1000000), prune_train")
    with pytest.raises(TrainingError, match=r"optimizer adamw has none"):
        compiled("prune_train(sparsity=0.5, optimizer='adamw')")
    with pytest.raises(TrainingError, match=r"The optimizer adamw makes no zeros.*sparse"):
        compiled("prune_train(optimizer='adamw')")
    with pytest.raises(TrainingError, match=r"sparsity is 1\.5"):
        Pipeline.parse("prune_train(sparsity=1.5)")
    with pytest.raises(ContractError, match="prune_train needs loss"):
        compiled("prune_train(sparsity=0.5)", loss=None)


def test_the_settings_of_the_optimizer_are_options_too() -> None:
    text = "prune_train(optimizer=\"sparse(method='hard', exclude=('w2',))\", sparsity=0.5)"
    (one,) = Pipeline.parse(text)
    assert Pipeline.parse(str(one)).passes == (one,)
    zeros = {weight.name: weight.zeros for weight in zeros_by_weight(compiled(text).program)}
    assert zeros["w1"] == 64
    assert zeros["w2"] == 0


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code if isinstance(stop.value.code, int) else 0


def test_the_command_line_trains_zeros_and_says_what_is_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nw.save(classifier(hidden=256), tmp_path / "model.onnx")
    np.savez(tmp_path / "rows.npz", allow_pickle=False, **ROWS)
    common = ("train", tmp_path / "model.onnx", "--training", tmp_path / "rows.npz", "--loss", "cross_entropy", "--threads", 1)
    sparse = ("--optimizer", "sparse(base='momentum')", "--sparsity", 0.9, "--sparse")
    assert command(*common, *sparse, "-o", tmp_path / "out.onnx", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["transport"]["bytes"] == (tmp_path / "out.onnx").stat().st_size
    assert report["transport"]["zeros"] > 0.75
    assert command(*common, *sparse, "-o", tmp_path / "again.onnx") == 0
    assert "bytes to send" in capsys.readouterr().err
    assert same_weights(nw.load(tmp_path / "out.onnx"), nw.load(tmp_path / "again.onnx"))
    assert command(*common, "--optimizer", "sparse", "-o", tmp_path / "none.onnx") == 1
    assert "neither a penalty nor a share of zeros" in capsys.readouterr().err

    compile_it = ("compile", tmp_path / "out.onnx", "-p", "simplify", "-o", tmp_path / "compiled.onnx", "--sparse")
    assert command(*compile_it) == 0
    assert "bytes to send" in capsys.readouterr().err
    assert (tmp_path / "compiled.onnx").stat().st_size < 0.6 * (tmp_path / "model.onnx").stat().st_size
