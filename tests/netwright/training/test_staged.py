"""Stages: each with its own model, teacher, data and loss; each resumable."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import netwright as nw
from netwright.backends.onnxruntime import OrtExecutor
from netwright.cli import main
from netwright.ir.program import Program
from netwright.training.distill import Distill
from netwright.training.errors import CheckpointError, TrainingError
from netwright.training.options import TrainOptions
from netwright.training.staged import Stage, StageResult, run_stages, with_weights
from tests.netwright.training.encoders import CLASSES, encoder, sentences

QUICK = TrainOptions(epochs=2, lr=5e-3, batch_size=32, threads=1)


def weights(program: Program) -> dict[str, np.ndarray]:
    return {value.name or "": value.const_value.numpy() for value in program.initializers() if value.const_value is not None}


def same(first: Program, second: Program) -> bool:
    one, other = weights(first), weights(second)
    return one.keys() == other.keys() and all(np.array_equal(array, other[name]) for name, array in one.items())


def accuracy(program: Program) -> float:
    data = sentences(192, seed=8)
    return float((OrtExecutor().run(program, {"ids": data["ids"]})["logits"].argmax(1) == data["labels"]).mean())


def unlabelled(count: int = 192, seed: int = 3) -> dict[str, np.ndarray]:
    return {"ids": sentences(count, seed)["ids"]}


def four_stages(general: Program, tuned: Program, student: Program) -> list[Stage]:
    """ERNIE-Tiny's: general data with a general teacher, the same with a fine-tuned one, the task's data without labels, and with them."""
    return [
        Stage(name="general", model=student, teacher=general, data=unlabelled(), distill=Distill(hidden=None, outputs="mse")),
        Stage(name="tuned teacher", teacher=tuned, data=unlabelled(), distill=Distill(outputs="mse", pairs={"n1": "n2"})),
        Stage(name="task-adaptive", teacher=tuned, data=unlabelled(64, seed=0), lr=2e-3),
        Stage(name="task", teacher="tuned teacher", data=sentences(64), loss="cross_entropy", epochs=4),
    ]


@pytest.fixture(scope="module")
def reference() -> Program:
    """A trained model."""
    return nw.train(encoder(), sentences(384), loss="cross_entropy", epochs=8, lr=5e-3, threads=1)


# ---- what stages do ------------------------------------------------------------------------------------------------


def test_four_stages_with_changing_teacher_data_and_loss(reference: Program, tmp_path: Path) -> None:
    results = run_stages(four_stages(encoder(seed=4), reference, encoder(layers=1)), QUICK, checkpoint=tmp_path)
    assert [result.name for result in results] == ["general", "tuned teacher", "task-adaptive", "task"]
    assert [result.history.steps for result in results] == [12, 12, 4, 8]
    assert set(results[1].history.parts) == {"outputs", "hidden"}
    assert set(results[3].history.parts) == {"outputs", "labels"}
    assert accuracy(results[-1].program) > 0.6
    assert (tmp_path / "stage-02-tuned_teacher").is_dir()


def test_a_stage_without_a_model_trains_on_with_the_one_before(reference: Program) -> None:
    stages = [Stage(teacher=reference, data=unlabelled()), Stage(data=sentences(), loss="cross_entropy", lr=1e-9)]
    first, second = run_stages(stages, QUICK, program=encoder(seed=2))
    assert not same(first.program, encoder(seed=2))
    np.testing.assert_allclose(weights(second.program)["l0_up"], weights(first.program)["l0_up"], atol=1e-6)


def test_the_previous_stages_model_can_teach_a_smaller_one(reference: Program) -> None:
    assistant = Stage(name="assistant", model=encoder(layers=2, seed=3), teacher=reference, data=unlabelled(384), epochs=8)
    small = Stage(name="small", model=encoder(layers=1, width=8, seed=3), teacher="previous", data=unlabelled(384), epochs=8)
    first, second = run_stages([assistant, small], QUICK)
    assert accuracy(first.program) > 0.8
    assert accuracy(second.program) > 0.7
    assert weights(second.program)["l0_up"].shape == (8, 16)


def test_a_stage_can_start_from_an_earlier_ones_weights(reference: Program) -> None:
    wide = encoder(layers=3, seed=6)
    stages = [
        Stage(name="first", model=encoder(seed=5), teacher=reference, data=unlabelled()),
        Stage(model=wide, init_from="first", loss="cross_entropy", data=sentences(), lr=1e-9, steps=1),
    ]
    first, second = run_stages(stages, QUICK)
    np.testing.assert_allclose(weights(second.program)["l1_up"], weights(first.program)["l1_up"], atol=1e-6)
    np.testing.assert_allclose(weights(second.program)["l2_up"], weights(wide)["l2_up"], atol=1e-6)
    assert {miss.site for miss in second.misses} == {f"l2_{name}" for name in ("q", "k", "v", "o", "up", "down", "g1", "s1", "g2", "s2")}
    assert second.misses[0].reason.startswith("keeps its own weights")


def test_weights_of_another_shape_are_listed() -> None:
    taken, misses = with_weights(encoder(width=8), encoder())
    assert {"l0_up", "head_w"} < {miss.site for miss in misses}
    assert "init_from has it as float [16,32]" in next(miss.reason for miss in misses if miss.site == "l0_up")
    assert np.array_equal(weights(taken)["head_b"], weights(encoder())["head_b"])
    with pytest.raises(TrainingError, match="Not one weight"):
        with_weights(encoder(), Program(nw.load(_bytes(_tiny())).model))


def test_the_last_stage_can_compress(reference: Program) -> None:
    stages = [
        Stage(teacher=reference, data=unlabelled()),
        Stage(compressor="quantize(bits=4)", teacher="previous", data=unlabelled()),
    ]
    (_, last) = run_stages(stages, QUICK, program=encoder(seed=2))
    assert len(list(last.program.nodes("DequantizeLinear"))) == 12
    assert [miss.site for miss in last.misses] == ["head_w"]


def test_train_runs_stages(reference: Program) -> None:
    stages = [Stage(teacher=reference), Stage(loss="cross_entropy", epochs=1)]
    trained = nw.train(encoder(seed=2), sentences(), stages=stages, epochs=2, lr=5e-3, threads=1)
    expected = run_stages(stages, TrainOptions(epochs=2, lr=5e-3, threads=1), program=encoder(seed=2), data=sentences())
    assert same(trained, expected[-1].program)


def test_the_trained_model_processes_text_on_the_command_line(
    reference: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = run_stages([Stage(model=encoder(layers=1), teacher=reference, data=unlabelled())], QUICK)
    nw.save(results[-1].program, tmp_path / "small.onnx")
    np.savez(tmp_path / "text.npz", ids=sentences(5)["ids"])
    with pytest.raises(SystemExit) as stop:
        main(["run", str(tmp_path / "small.onnx"), "--input", str(tmp_path / "text.npz"), "--json"])
    assert not stop.value.code
    assert json.loads(capsys.readouterr().out)["outputs"]["logits"]["shape"] == [5, CLASSES]


# ---- resuming ------------------------------------------------------------------------------------------------------


class Stop(Exception):
    """Stands for a killed process."""


class Failing:
    """Data that fails after so many batches; a list otherwise."""

    def __init__(self, batches: list[dict[str, np.ndarray]], after: int) -> None:
        self.batches = batches
        self.left = after

    def __call__(self) -> Iterator[dict[str, np.ndarray]]:
        for batch in self.batches:
            if not self.left:
                raise Stop
            self.left -= 1
            yield batch


def batches(count: int, seed: int) -> list[dict[str, np.ndarray]]:
    rows = sentences(16 * count, seed)
    return [{name: array[start : start + 16] for name, array in rows.items()} for start in range(0, 16 * count, 16)]


def stages_with(fails_after: int, reference: Program) -> list[Stage]:
    data = Failing(batches(6, seed=3), fails_after)
    return [
        Stage(name="one", model=encoder(seed=2), teacher=reference, data=batches(6, seed=2)),
        Stage(name="two", teacher="one", compressor="quantize(bits=2)", distill=Distill(hidden="auto"), data=data),
        Stage(name="three", model=encoder(layers=1, seed=2), teacher="previous", data=batches(6, seed=4), loss="cross_entropy"),
    ]


def run_with(stages: list[Stage], folder: Path, *, resume: bool = False) -> list[StageResult]:
    options = TrainOptions(epochs=2, lr=5e-3, checkpoint=folder, checkpoint_every=2, resume=resume, threads=1, seed=1)
    return run_stages(stages, options)


def test_an_interrupted_stage_goes_on_inside_and_finished_ones_are_taken_up(reference: Program, tmp_path: Path) -> None:
    expected = run_with(stages_with(-1, reference), tmp_path / "whole")
    with pytest.raises(Stop):
        run_with(stages_with(9, reference), tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "stage-03-three").exists()
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "stopped" / "stage-01-one").rglob("*")}
    found = run_with(stages_with(-1, reference), tmp_path / "stopped", resume=True)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "stopped" / "stage-01-one").rglob("*")} == written
    for one, other in zip(expected, found, strict=True):
        assert same(one.program, other.program), one.name
        assert one.history.losses == other.history.losses


def test_a_finished_run_is_taken_up_as_it_is(reference: Program, tmp_path: Path) -> None:
    expected = run_with(stages_with(-1, reference), tmp_path)
    found = run_with(stages_with(6, reference), tmp_path, resume=True)  # enough to count its batches
    assert all(same(one.program, other.program) for one, other in zip(expected, found, strict=True))


def test_checkpoints_of_other_stages_are_refused(reference: Program, tmp_path: Path) -> None:
    run_with([Stage(name="one", model=encoder(seed=2), teacher=reference, data=batches(6, seed=2))], tmp_path)
    with pytest.raises(CheckpointError):
        run_with([Stage(name="one", model=encoder(seed=2), loss="cross_entropy", data=batches(6, seed=2))], tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="holds checkpoints already"):
        run_with([Stage(name="one", model=encoder(seed=2), teacher=reference, data=batches(6, seed=2))], tmp_path)


def test_a_teachers_outputs_are_kept_beside_the_checkpoints(reference: Program, tmp_path: Path) -> None:
    run_with([Stage(model=encoder(seed=2), teacher=reference, data=batches(6, seed=2))], tmp_path)
    assert len(list((tmp_path / "teachers").rglob("*.safetensors"))) == 6


def test_hidden_states_are_kept_only_where_a_cache_is_given(reference: Program, tmp_path: Path) -> None:
    stage = Stage(model=encoder(seed=2), teacher=reference, data=batches(2, seed=2), distill=Distill(hidden="auto"))
    run_stages([stage], QUICK, checkpoint=tmp_path / "run")
    assert not (tmp_path / "run" / "teachers").exists()
    run_stages([stage], QUICK, cache=tmp_path / "kept")
    assert list((tmp_path / "kept").rglob("*.safetensors"))


# ---- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "There is no stage"),
        ([Stage(data=sentences(), loss="mse")], "The first stage has no model"),
        ([Stage(model=encoder(), loss="mse")], "The stage has no data"),
        ([Stage(model=encoder(), data=sentences())], "nothing to learn from"),
        ([Stage(model=encoder(), data=sentences(), loss="mse", distill=Distill())], "nobody to learn from"),
        ([Stage(model=encoder(), data=sentences(), teacher="previous")], "this is the first stage"),
        ([Stage(model=encoder(), data=sentences(), teacher="later"), Stage(name="later", loss="mse")], "no earlier stage is called that"),
        ([Stage(name="a", model=encoder(), data=sentences(), loss="mse"), Stage(name="a", loss="mse")], "Two stages are called a"),
        ([Stage(name="previous", model=encoder(), data=sentences(), loss="mse")], "cannot be called previous"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_runs(stages: list[Stage], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        run_stages(stages)


def _tiny() -> Program:
    from tests.passes.programs import program_of

    return program_of(
        """<ir_version: 10, opset_import: ["" : 20]> tiny (float[N, 8] x, WEIGHTS) => (float[N, 4] y) { y = MatMul (x, only) }""",
        {"only": np.ones((8, 4), np.float32)},
    )


def _bytes(program: Program) -> bytes:
    import onnx_ir

    return onnx_ir.to_proto(program.model).SerializeToString()


def test_what_each_stage_has_of_its_own_is_refused_beside_stages(reference: Program) -> None:
    with pytest.raises(TrainingError, match=r"loss was given beside stages[\s\S]*Stage\(loss"):
        nw.train(reference, sentences(32), stages=[Stage(model=reference, teacher=reference)], loss="cross_entropy")
