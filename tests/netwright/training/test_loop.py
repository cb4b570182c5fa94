"""The loop on programs that learn in a moment: it learns, it is exact, and it stops well."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import signal
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState

from netwright.frontends.torch import trace
from netwright.ir.errors import DataError, MissingExtraError
from netwright.ir.program import Program
from netwright.training import LabelledObjective, TrainOptions, fit, train
from netwright.training.errors import CheckpointError, TrainingError, TrainingInterrupted
from netwright.training.objective import TorchBatch
from netwright.training.options import OptimizerLike
from netwright.training.schedules import learning_factor
from netwright.training.staged import Stage
from netwright.training.terms import Outputs
from tests.models import SMALL_MODELS, traced
from tests.netwright.training.support import (
    accuracy,
    classifier,
    history_of,
    labelled_rows,
    same_weights,
    two_headed,
    weights_of,
)

ROWS = labelled_rows()
NOUGHT = np.zeros((256, 3), np.float32)


def test_training_on_labels_learns_and_leaves_the_program_as_it_was() -> None:
    program = classifier()
    before = weights_of(program)
    trained = train(program, ROWS, loss="cross_entropy", epochs=20, lr=2e-2)
    assert accuracy(program, ROWS) < 0.6
    assert accuracy(trained, ROWS) > 0.9
    assert all(np.array_equal(before[name], array) for name, array in weights_of(program).items())
    history = history_of(trained)
    assert history.steps == 20 * 8
    assert np.mean(history.losses[-8:]) < 0.5 * history.losses[0]


def adagrad(parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """An optimizer of the user's own."""
    return torch.optim.Adagrad(parameters, lr=0.1)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "rmsprop", adagrad])
def test_every_optimizer_lowers_the_loss(optimizer: OptimizerLike) -> None:
    lr = {"sgd": 0.3}.get(optimizer, 1e-2) if isinstance(optimizer, str) else None
    losses = history_of(train(classifier(), ROWS, loss="cross_entropy", epochs=4, optimizer=optimizer, lr=lr)).losses
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:4])


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    def run(seed: int) -> Program:
        torch.manual_seed(np.random.randint(1000))
        return train(classifier(dropout=True), ROWS, loss="cross_entropy", lr=1e-2, seed=seed)

    first = run(0)
    assert same_weights(first, run(0))
    assert not same_weights(first, run(1))


def test_torchs_own_generator_and_threads_are_as_before() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    train(classifier(dropout=True), ROWS, loss="cross_entropy", threads=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_what_accelerate_keeps_for_the_process_is_reset() -> None:
    train(classifier(), ROWS, loss="cross_entropy", precision="bfloat16")
    states = (AcceleratorState, PartialState, GradientState)
    assert [bool(vars(state)["_shared_state"]) for state in states] == [False, False, False]
    assert not same_weights(
        train(classifier(), ROWS, loss="cross_entropy"), train(classifier(), ROWS, loss="cross_entropy", precision="bfloat16")
    )


def test_bfloat16_learns_and_its_weights_stay_float32() -> None:
    trained = train(classifier(), ROWS, loss="cross_entropy", epochs=8, lr=1e-2, precision="bfloat16")
    assert accuracy(trained, ROWS) > 0.85
    assert all(array.dtype == np.float32 for array in weights_of(trained).values())


def test_accumulated_batches_make_the_step_of_one_large_batch() -> None:
    whole = train(classifier(), ROWS, loss="cross_entropy", optimizer="sgd", lr=0.1, batch_size=32)
    parts = train(classifier(), ROWS, loss="cross_entropy", optimizer="sgd", lr=0.1, batch_size=8, accumulate=4)
    assert history_of(whole).steps == history_of(parts).steps == 8
    assert history_of(parts).losses == pytest.approx(history_of(whole).losses, rel=1e-5)
    for name, array in weights_of(parts).items():
        np.testing.assert_allclose(array, weights_of(whole)[name], rtol=1e-4, atol=1e-6)


def test_steps_decide_where_given_and_go_through_the_data_as_often_as_need_be() -> None:
    assert history_of(train(classifier(), ROWS, loss="cross_entropy", steps=11)).steps == 11
    assert history_of(train(classifier(), ROWS, loss="cross_entropy", steps=3)).steps == 3
    generator = ({name: array[:8] for name, array in ROWS.items()} for _ in range(5))
    assert history_of(train(classifier(), generator, loss="cross_entropy", steps=4)).steps == 4


def test_the_first_sgd_step_is_the_formula() -> None:
    program, rows = classifier(), {name: array[:8] for name, array in ROWS.items()}
    trained = train(program, rows, loss="cross_entropy", optimizer="sgd", lr=0.5, schedule="constant", warmup=0, clip=None, batch_size=8)
    w = {name: torch.tensor(array, requires_grad=True) for name, array in weights_of(program).items()}
    x, labels = torch.tensor(rows["x"]), torch.tensor(rows["labels"])
    torch.nn.functional.cross_entropy(torch.relu(x @ w["w1"] + w["b1"]) @ w["w2"] + w["b2"], labels).backward()
    for name, array in weights_of(trained).items():
        gradient = w[name].grad
        assert gradient is not None
        np.testing.assert_allclose(array, (w[name].detach() - 0.5 * gradient).numpy(), rtol=1e-4, atol=1e-6)


def test_clipping_bounds_the_step() -> None:
    program = classifier()
    trained = train(program, ROWS, loss="cross_entropy", optimizer="sgd", lr=1.0, steps=1, clip=1e-3, schedule="constant", warmup=0)
    before, after = weights_of(program), weights_of(trained)
    assert np.sqrt(sum(((after[name] - before[name]) ** 2).sum() for name in before)) == pytest.approx(1e-3, rel=1e-3)


def test_weight_decay_leaves_vectors_alone() -> None:
    def constant(outputs: Outputs, batch: TorchBatch) -> torch.Tensor:
        return outputs["logits"].sum() * 0

    program = train(classifier(), ROWS, loss="cross_entropy", lr=1e-2)
    trained = train(program, ROWS, loss=constant, lr=1e-2, steps=5, weight_decay=0.5, schedule="constant", warmup=0)
    before, after = weights_of(program), weights_of(trained)
    for name in before:
        np.testing.assert_allclose(after[name], before[name] * ((1 - 1e-2 * 0.5) ** 5 if before[name].ndim > 1 else 1), rtol=1e-5)


@pytest.mark.parametrize(("schedule", "middle"), [("constant", 1.0), ("linear", 0.5), ("cosine", 0.5)])
def test_schedules_warm_up_and_end_near_zero(schedule: str, middle: float) -> None:
    factors = [learning_factor(schedule, step, 110, 10) for step in range(110)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[60] == pytest.approx(middle)
    assert factors[-1] == pytest.approx(1.0 if schedule == "constant" else 0.0, abs=0.011)
    assert [learning_factor(schedule, step, 100, 0.1) for step in range(10)] == pytest.approx(factors[:10])
    assert learning_factor(lambda step, steps: step / steps, 5, 10, 0.1) == 0.5


def test_the_best_epochs_weights_are_the_result_and_patience_ends_the_run() -> None:
    scores = iter([0.1, 0.2, 0.9, 0.5, 0.4, 0.3, 0.2, 0.1])
    seen: list[dict[str, np.ndarray]] = []

    def score(program: Program) -> float:
        seen.append(weights_of(program))
        return next(scores)

    options = TrainOptions(epochs=7, lr=1e-2, patience=2)
    trained = fit(LabelledObjective(classifier(), "cross_entropy"), ROWS, options, score=score)
    history = history_of(trained)
    assert history.scores == (0.1, 0.2, 0.9, 0.5, 0.4)
    assert (history.best, history.stopped_early, history.steps) == (2, True, 4 * 8)
    final = weights_of(trained)
    assert all(np.array_equal(final[name], array) for name, array in seen[2].items())
    assert not np.array_equal(final["w1"], seen[4]["w1"])


def test_a_metric_by_name_is_taken_on_validation_data_before_and_after_each_epoch() -> None:
    trained = train(classifier(), ROWS, loss="cross_entropy", epochs=6, lr=1e-2, metric="accuracy", validation=labelled_rows(seed=2))
    scores = history_of(trained).scores
    assert len(scores) == 7
    assert max(scores) == pytest.approx(accuracy(trained, labelled_rows(seed=2)))
    assert scores[-1] > scores[0] + 0.2


def test_without_a_metric_the_loss_on_validation_data_takes_its_place() -> None:
    rows, other = {name: array[:32] for name, array in ROWS.items()}, labelled_rows(64, seed=3)
    trained = train(classifier(dropout=True), rows, loss="cross_entropy", epochs=2, lr=1e-3, validation=other, batch_size=16)
    scores = history_of(trained).scores
    w = {name: torch.tensor(array) for name, array in weights_of(trained).items()}
    outputs = torch.relu(torch.tensor(other["x"]) @ w["w1"] + w["b1"]) @ w["w2"] + w["b2"]
    assert max(scores) == pytest.approx(-float(torch.nn.functional.cross_entropy(outputs, torch.tensor(other["labels"]))), rel=1e-4)


def test_several_outputs_train_with_their_own_losses_and_the_history_has_both() -> None:
    rows = {"x": ROWS["x"], "labels_kind": ROWS["labels"], "labels_place": ROWS["x"][:, :2]}
    history = history_of(train(two_headed(), rows, loss={"kind": "cross_entropy", "place": ("mse", 0.5)}, epochs=4, lr=1e-2))
    assert set(history.parts) == {"kind", "place"}
    for part in history.parts.values():
        assert part[-1] < part[0]
    assert [sum(values) for values in zip(*history.parts.values(), strict=True)] == pytest.approx(history.losses, rel=1e-5)


class Terminal(io.StringIO):
    """What a person looks at."""

    def isatty(self) -> bool:
        return True


def test_a_person_sees_loss_and_score_go_by(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {name: Terminal() for name in ("asked", "not asked")}
    for name, screen in shown.items():
        monkeypatch.setattr(sys, "stderr", screen)
        train(classifier(), ROWS, loss="cross_entropy", epochs=2, metric="accuracy", validation=ROWS, progress=name == "asked")
    assert re.search(r"loss \d\.\d+  score 0\.\d+.*\d+/16", shown["asked"].getvalue())
    assert shown["not asked"].getvalue() == ""


def test_what_is_given_decides_what_is_minimised() -> None:
    unlabelled, wide = {"x": ROWS["x"]}, classifier(hidden=64)
    teacher = train(wide, ROWS, loss="cross_entropy", epochs=12, lr=2e-2)
    student = train(classifier(), unlabelled, teacher=teacher, epochs=12, lr=2e-2)
    assert accuracy(student, ROWS) > accuracy(teacher, ROWS) - 0.1
    compressed = train(teacher, unlabelled, compressor="quantize(bits=4)", steps=4)
    assert "DequantizeLinear" in [node.op_type for node in compressed.nodes()]
    stages = [Stage(loss="cross_entropy", lr=2e-2, epochs=6), Stage(teacher="previous", model=classifier(), lr=2e-2, epochs=12)]
    staged = train(wide, ROWS, stages=stages)
    assert weights_of(staged)["w1"].shape == (8, 16)
    assert accuracy(staged, ROWS) > accuracy(classifier(), ROWS) + 0.2


def test_a_loss_of_ones_own_sees_outputs_and_batch_by_name() -> None:
    def weighted(outputs: Outputs, batch: TorchBatch) -> torch.Tensor:
        each = torch.nn.functional.cross_entropy(outputs["logits"], batch["labels"], reduction="none")
        return (each * batch["importance"]).mean()

    rows = {**ROWS, "importance": (ROWS["labels"] == 0).astype(np.float32)}
    trained = train(classifier(), rows, loss=weighted, epochs=4, lr=1e-2)
    chosen = {name: array[ROWS["labels"] == 0] for name, array in ROWS.items()}
    assert accuracy(trained, chosen) == 1.0
    assert accuracy(trained, ROWS) < 0.8


@pytest.mark.parametrize("name", ["resnet", "encoder_fused_qkv", "lstm"])
def test_traced_models_of_every_kind_learn_their_batch_by_heart(name: str) -> None:
    def alternating(outputs: Outputs, batch: TorchBatch) -> torch.Tensor:
        output = next(iter(outputs.values()))
        logits = output.reshape(-1, output.shape[-1])
        return torch.nn.functional.cross_entropy(logits, torch.arange(len(logits)) % 2)

    losses = history_of(train(traced(name), [SMALL_MODELS[name].feeds(batch=4)], loss=alternating, steps=40, lr=1e-2)).losses
    assert losses[-1] < 0.5 * losses[0]


# ---- stopping --------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_names_step_batch_and_the_first_bad_value(tmp_path: Path) -> None:
    program = classifier(ending="l = Log (z)\n logits = Neg (l)")
    with pytest.raises(TrainingError, match=r"At step 0 the loss is nan: the first value that is not finite is %l, Log") as raised:
        train(program, {"x": ROWS["x"], "labels": NOUGHT}, loss="mse", steps=3, checkpoint=tmp_path, batch_size=16)
    assert raised.value.place == "step 0"
    with np.load(tmp_path / "not-finite-00000000.npz") as saved:
        assert saved["x"].shape == (16, 8)
        assert saved["labels"].shape == (16, 3)


class Rooted(torch.nn.Module):
    """A square root of what may be negative, inside another module."""

    class Root(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sqrt(x)

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(8, 3)
        self.root = self.Root()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.root(self.linear(x)).sum(1)


def test_the_bad_value_is_named_with_its_place_in_the_source() -> None:
    program = trace(Rooted(), (torch.randn(4, 8),), dynamic_shapes={"x": {0: "batch"}})
    with pytest.raises(TrainingError, match=r"first value that is not finite is %\S*sqrt\S*, Sqrt of root \S*test_loop.py:\d+, has NaN"):
        train(program, {"x": ROWS["x"], "labels": NOUGHT[:, 0]}, loss="mse")


def test_a_bad_row_in_the_data_is_told_from_a_bad_model(tmp_path: Path) -> None:
    rows = {name: array.copy() for name, array in ROWS.items()}
    rows["x"][100, 3] = np.nan
    with pytest.raises(TrainingError, match=r"the first value that is not finite is %x, has NaN"):
        train(classifier(), rows, loss="cross_entropy", checkpoint=tmp_path)
    (saved,) = tmp_path.glob("*.npz")
    with np.load(saved) as batch:
        assert np.isnan(batch["x"]).sum() == 1


def test_a_mask_of_minus_infinity_is_not_blamed() -> None:
    program = classifier(ending="zero = Sub (z, z)\n low = Log (zero)\n masked = Max (z, low)\n logits = Sqrt (masked)")
    with pytest.raises(TrainingError, match=r"%logits, Sqrt"):
        train(program, {"x": ROWS["x"], "labels": NOUGHT}, loss="mse", steps=1)


def test_a_loss_function_that_divides_by_zero_is_blamed_itself() -> None:
    with pytest.raises(TrainingError, match="every value of the model is finite, and the loss is not"):
        train(classifier(), ROWS, loss=lambda outputs, batch: outputs["logits"].mean() / 0.0 * 0.0, steps=1)


def test_a_gradient_that_is_not_finite_names_the_weights() -> None:
    with pytest.raises(TrainingError, match=r"At step 0 the loss is finite and its gradient is not, of 4 weights: w1"):
        train(classifier(), ROWS, loss=lambda outputs, batch: (outputs["logits"] * 0).sum().sqrt(), steps=1)


def interrupting(at: int) -> Callable[[Outputs, TorchBatch], torch.Tensor]:
    """A loss under which Ctrl-C is pressed once."""
    calls = [0]

    def loss(outputs: Outputs, batch: TorchBatch) -> torch.Tensor:
        calls[0] += 1
        if calls[0] == at:
            os.kill(os.getpid(), signal.SIGINT)
        return torch.nn.functional.cross_entropy(outputs["logits"], batch["labels"])

    return loss


def test_ctrl_c_stops_between_steps_and_says_how_to_go_on(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(TrainingInterrupted, match=r"stopped after step 5 of 16.*--resume"):
        train(classifier(dropout=True), ROWS, loss=interrupting(5), epochs=2, lr=1e-2, checkpoint=tmp_path)
    assert signal.getsignal(signal.SIGINT) is handler
    resumed = train(classifier(dropout=True), ROWS, loss=interrupting(0), epochs=2, lr=1e-2, checkpoint=tmp_path, resume=True)
    assert same_weights(resumed, train(classifier(dropout=True), ROWS, loss=interrupting(0), epochs=2, lr=1e-2))


def test_ctrl_c_without_a_folder_says_that_nothing_was_saved() -> None:
    with pytest.raises(TrainingInterrupted, match="nothing was saved"):
        train(classifier(), ROWS, loss=interrupting(2))


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"lr": -1.0}, "lr is -1.0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"schedule": "steps"}, "schedule is 'steps'"),
        ({"precision": "float8"}, "precision is 'float8'"),
        ({"optimizer": "lion"}, "no optimizer named lion"),
        ({"resume": True}, "resume needs a folder"),
        ({"patience": 2}, "patience needs a metric"),
        ({"seed": -1}, "seed is -1"),
        ({"batch_size": 2.5}, "batch_size is 2.5"),
        ({"precision": "float16"}, "float16 needs a GPU"),
    ],
)
def test_options_out_of_range_are_refused_before_anything_runs(options: dict[str, object], message: str) -> None:
    if options == {"precision": "float16"} and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(TrainingError, match=message):
        train(classifier(), ROWS, loss="cross_entropy", **options)  # pyright: ignore[reportArgumentType]


def test_nothing_to_minimise_or_to_train_is_said() -> None:
    with pytest.raises(TrainingError, match="nothing to minimise"):
        train(classifier(), ROWS)
    with pytest.raises(DataError, match="no data"):
        train(classifier(), loss="mse")
    with pytest.raises(DataError, match="metric accuracy needs data"):
        train(classifier(), ROWS, loss="cross_entropy", metric="accuracy")
    with pytest.raises(TrainingError, match="does not depend on any weight"):
        train(classifier(), ROWS, loss=lambda outputs, batch: batch["x"].mean())
    with pytest.raises(DataError, match="no labels for 'logits'"):
        train(classifier(), {"x": ROWS["x"]}, loss="cross_entropy")


def test_a_folder_with_checkpoints_is_not_written_over(tmp_path: Path) -> None:
    train(classifier(), ROWS, loss="cross_entropy", checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match=r"holds checkpoints already.*resume=True"):
        train(classifier(), ROWS, loss="cross_entropy", checkpoint=tmp_path)


def test_the_extra_is_named_where_a_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def without(name: str) -> ModuleSpec | None:
        return None if name == "accelerate" else find(name)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(MissingExtraError, match=r"netwright\[train\]"):
        train(classifier(), ROWS, loss="cross_entropy")
